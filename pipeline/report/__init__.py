"""What a run did, as one page with pictures: from its folder alone, while it works and after it ended or died."""
