def warn_of_shifts(arrays):
    pass
