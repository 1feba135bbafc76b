//! What whoever writes a control is told that has no effect here: nobody is to rely on what is only stored.

pub const FAIRNESS: &str = "this server does not do API priority and fairness: the object is stored, and no request is treated by it";
