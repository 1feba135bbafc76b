//! skiff-server
