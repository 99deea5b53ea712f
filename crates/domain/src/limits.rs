//! Every limit of the domain, with its unit in its name and its reason beside it.

/// Longest title of a card, in characters.
pub const TITLE_CHARS_MAX: usize = 255;
/// Longest category of a card, in characters.
pub const CATEGORY_CHARS_MAX: usize = 100;
/// Longest description of a card, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 16 * 1024;
/// Longest prompt template, in bytes; the context windows of today's models end well below.
pub const PROMPT_BYTES_MAX: usize = 1024 * 1024;
/// Most tags of a card.
pub const TAGS_MAX: usize = 50;
/// Most protected labels of a card: they are folded at each command on it.
pub const PROTECTED_LABELS_MAX: usize = 50;
/// Longest tag, label or name of a case, in characters.
pub const NAME_CHARS_MAX: usize = 255;
/// Longest name of a data subject, in characters.
pub const SUBJECT_CHARS_MAX: usize = 255;
/// Largest metadata object of a card, in bytes of its JSON.
pub const METADATA_BYTES_MAX: usize = 64 * 1024;
/// Largest case: variables, expected output and assertions together, in bytes of their JSON.
pub const CASE_BYTES_MAX: usize = 256 * 1024;
/// Most assertions of one case.
pub const ASSERTIONS_MAX: usize = 100;
/// Most tags of one case.
pub const CASE_TAGS_MAX: usize = 50;
/// Longest part of a judge's answer that is recorded, in bytes; the rest is cut.
pub const JUDGEMENT_BYTES_MAX: usize = 16 * 1024;
/// Most cards that a run's prompts include, those included by included ones counted.
pub const PARTIALS_MAX: usize = 50;
/// Most cases of one card: all of them are folded at each command on the card.
pub const CASES_MAX: usize = 50_000;
/// Largest event that `cases_added` may become, in bytes; a larger import is split over several events.
pub const CASES_EVENT_BYTES_MAX: usize = 512 * 1024;
/// Longest message of a revision, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Most versions of a card in one run.
pub const RUN_VERSIONS_MAX: usize = 50;
/// Largest sum of the templates of a run, in bytes: its plan travels in one message of at most 8 MB.
pub const RUN_PROMPTS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most models in one run.
pub const RUN_MODELS_MAX: usize = 50;
/// Most repeats of each cell of a run.
pub const RUN_REPEATS_MAX: u16 = 1_000;
/// Most executions of one run.
pub const RUN_EXECUTIONS_MAX: u64 = 1_000_000;
/// Largest output of a model that is recorded, in bytes; a larger one fails its execution with its size.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Longest error message that is recorded, in bytes; the rest is cut.
pub const ERROR_BYTES_MAX: usize = 2 * 1024;
/// Attempts of an execution before it is a dead letter.
pub const ATTEMPTS_MAX: u16 = 5;
/// How often an attempt may be snoozed because the provider has no room; then it counts as failed.
pub const SNOOZES_MAX: u16 = 200;
/// Most executions that a retry names one by one; more are chosen by their class.
pub const RETRY_EXECUTIONS_MAX: usize = 1_000;
/// Most scopes that are paused at a time.
pub const PAUSES_MAX: usize = 100;
/// Most providers and models with limits.
pub const LIMIT_KEYS_MAX: usize = 200;
/// Largest share of a tenant.
pub const WEIGHT_MAX: u16 = 100;
/// Largest input of a job on request, in bytes of its JSON: it travels in the job's ticket.
pub const JOB_INPUT_BYTES_MAX: usize = 64 * 1024;
/// Largest output of a job on request, in bytes of its JSON; a larger one fails its attempt with its size.
pub const JOB_OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Most answers in the review of a run: all of them are folded at each command on it.
pub const REVIEW_ITEMS_MAX: usize = 10_000;
/// Most things that an answer is scored by.
pub const REVIEW_SCORES_MAX: usize = 20;
/// Most words of a score.
pub const SCORE_CATEGORIES_MAX: usize = 50;
/// Most people who score the same answer.
pub const REVIEWERS_PER_ITEM_MAX: u8 = 20;
/// Most rules of a run about cells that it leaves out.
pub const RUN_SKIPS_MAX: usize = 1_000;
