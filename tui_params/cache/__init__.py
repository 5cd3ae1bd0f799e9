"""What is kept between openings, in the user's cache folder."""
