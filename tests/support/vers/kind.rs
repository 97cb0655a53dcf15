//! What the record calls the requests.

/// `GET /repositories/{repo_name}`
pub const REPOSITORY: &str = "repository";
/// `GET …/tags`
pub const LIST: &str = "list";
/// `GET …/tags/{tag_name}`
pub const GET: &str = "get";
/// `POST …/tags`
pub const CREATE: &str = "create";
/// `PATCH …/tags/{tag_name}`
pub const MOVE: &str = "move";
/// `DELETE …/tags/{tag_name}`
pub const DELETE: &str = "delete";
/// `GET /commits`
pub const COMMITS: &str = "commits";
/// Anything else.
pub const OTHER: &str = "other";
