"""A head that knows what one whole object is, of any class, learned without a box: from cutouts pasted on canvases."""
