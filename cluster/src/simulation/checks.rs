//! What has to be so at the end of every run; each check tells what is not.

pub(super) mod elements;
pub(super) mod leaders;
pub(super) mod registers;
