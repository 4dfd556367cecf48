"""A network that knows what one whole object is, of any class: boxes of objects in any image, before anything is known of a folder."""
