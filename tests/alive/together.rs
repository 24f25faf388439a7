//! Several secrets of one transaction appear together; nobody's bytes are lost; a burst shows up at once.
