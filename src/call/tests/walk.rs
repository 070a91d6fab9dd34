//! Many calls at once with peers that do as they please: nothing is left, nothing panics.
