//! libsmallmind: language models inside your program.
//!
//! ```no_run
//! # fn main() -> smallmind::Result<()> {
//! let model = smallmind::Model::load("model.gguf", &Default::default())?;
//! let mut session = model.session(&Default::default())?;
//! for token in session.stream("Once upon a time", Default::default()) {
//!     print!("{}", token?.text_lossy());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What the library refuses is an [`Error`] with its message. Handles are dropped in any order. A
//! panic of a callback ends the call and goes on behind it; none goes through the library. A
//! [`Canceller`] ends calls from other threads and from signal handlers.

mod options;
#[allow(dead_code)]
pub mod sys;

pub use options::*;

use std::any::Any;
use std::ffi::{CStr, CString};
use std::fmt;
use std::ops::ControlFlow;
use std::os::raw::{c_char, c_void};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::mpsc::{sync_channel, Receiver};
use std::sync::Arc;
use std::thread::JoinHandle;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub status: Status,
    /// The system's number of it (errno), or 0.
    pub system: i32,
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;

fn refused(message: String) -> Error {
    Error { status: Status::ARGUMENT, system: 0, message }
}

/// Makes a call that takes an error last.
fn call(function: impl FnOnce(*mut sys::sm_error) -> sys::sm_status) -> Result<()> {
    let mut e: sys::sm_error = zeroed();
    let status = function(&mut e);
    if status == sys::SM_OK {
        return Ok(());
    }
    // SAFETY: the library ends its messages with a zero
    let message = unsafe { CStr::from_ptr(e.message.as_ptr()) }.to_string_lossy().into_owned();
    Err(Error { status: Status(status), system: e.system, message })
}

/// A struct of the library's, all zero.
trait Plain: Copy {}
macro_rules! plain {
    ($($name:ident),*) => { $(impl Plain for sys::$name {})* };
}
plain!(
    sm_error,
    sm_model_options,
    sm_session_options,
    sm_fork_options,
    sm_sampling,
    sm_generate_options,
    sm_model_info,
    sm_generate_stats,
    sm_choice,
    sm_encode_options,
    sm_chat_options,
    sm_answer_options,
    sm_encoder_options,
    sm_encoder_info
);
fn zeroed<T: Plain>() -> T {
    // SAFETY: numbers, pointers and optional functions alone (Plain)
    unsafe { std::mem::zeroed() }
}
macro_rules! sized {
    ($name:ident) => {{
        let mut made: sys::$name = zeroed();
        made.struct_size = std::mem::size_of::<sys::$name>() as u32;
        made
    }};
}

/// Texts that structs of one call point to.
#[derive(Default)]
pub(crate) struct Texts {
    zero_ended: Vec<CString>,
}

impl Texts {
    pub(crate) fn optional(&mut self, name: &str, text: Option<&str>) -> Result<*const c_char> {
        let Some(text) = text else { return Ok(null()) };
        let made =
            CString::new(text).map_err(|_| refused(format!("{name} has a zero character")))?;
        self.zero_ended.push(made);
        Ok(self.zero_ended[self.zero_ended.len() - 1].as_ptr())
    }
}

fn texts(from: &[String]) -> Vec<sys::sm_text> {
    from.iter()
        .map(|t| sys::sm_text { text: t.as_ptr() as *const c_char, length: t.len() as u64 })
        .collect()
}

fn bytes(text: *const c_char, length: u64) -> Vec<u8> {
    if text.is_null() {
        return Vec::new();
    }
    // SAFETY: what callbacks are told is valid while they run
    unsafe { std::slice::from_raw_parts(text as *const u8, length as usize) }.to_vec()
}

fn string(text: *const c_char, length: u64) -> String {
    String::from_utf8_lossy(&bytes(text, length)).into_owned()
}

fn c_string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: such texts of the library end with a zero
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// The library's version.
pub fn version() -> String {
    // SAFETY: takes nothing
    c_string(unsafe { sys::sm_version() })
}

macro_rules! handle {
    ($name:ident, $raw:ident, $free:ident) => {
        struct $name(*mut sys::$raw);
        // SAFETY: any thread may use it, one at a time where calls change it (others get
        // SM_ERR_STATE), and the last one frees it
        unsafe impl Send for $name {}
        unsafe impl Sync for $name {}
        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: made by the library, and freed once
                unsafe { sys::$free(self.0) }
            }
        }
    };
}
handle!(CancelHandle, sm_cancel, sm_cancel_free);
handle!(ModelHandle, sm_model, sm_model_free);
handle!(TokenizerHandle, sm_tokenizer, sm_tokenizer_free);
handle!(ConstraintHandle, sm_constraint, sm_constraint_free);
handle!(SessionHandle, sm_session, sm_session_free);
handle!(ChatHandle, sm_chat, sm_chat_free);
handle!(EncoderHandle, sm_encoder, sm_encoder_free);

/// Ends calls: any thread, and a signal handler, may set it. It stays set until it is cleared.
#[derive(Clone)]
pub struct Canceller(Arc<CancelHandle>);

impl Canceller {
    pub fn new() -> Result<Self> {
        let mut made = null_mut();
        call(|e| unsafe { sys::sm_cancel_new(&mut made, e) })?;
        Ok(Canceller(Arc::new(CancelHandle(made))))
    }
    pub fn set(&self) {
        unsafe { sys::sm_cancel_set(self.raw(), 1) }
    }
    pub fn clear(&self) {
        unsafe { sys::sm_cancel_set(self.raw(), 0) }
    }
    pub fn is_set(&self) -> bool {
        unsafe { sys::sm_cancel_is_set(self.raw()) != 0 }
    }
    fn raw(&self) -> *mut sys::sm_cancel {
        self.0 .0
    }
}

fn flag(of: &Option<Canceller>) -> *mut sys::sm_cancel {
    of.as_ref().map_or(null_mut(), Canceller::raw)
}

/// What the callbacks of one call keep: the closure, and what it panicked with.
struct Hook<'a, T> {
    told: &'a mut dyn FnMut(T) -> ControlFlow<()>,
    panicked: Option<Box<dyn Any + Send>>,
}

impl<T> Hook<'_, T> {
    fn answer(&mut self, make: impl FnOnce() -> T) -> i32 {
        match catch_unwind(AssertUnwindSafe(|| (self.told)(make()))) {
            Ok(flow) => i32::from(flow.is_break()),
            Err(panic) => {
                self.panicked = Some(panic);
                1
            }
        }
    }
    fn outcome(self, result: Result<()>) -> Result<()> {
        match self.panicked {
            Some(panic) => resume_unwind(panic),
            None => result,
        }
    }
}

unsafe extern "C" fn on_progress(user: *mut c_void, done: u64, total: u64) -> i32 {
    (*(user as *mut Hook<'_, (u64, u64)>)).answer(|| (done, total))
}

unsafe extern "C" fn on_token(user: *mut c_void, token: *const sys::sm_token) -> i32 {
    (*(user as *mut Hook<'_, Token>)).answer(|| Token::of(&*token))
}

unsafe extern "C" fn on_delta(user: *mut c_void, delta: *const sys::sm_delta) -> i32 {
    (*(user as *mut Hook<'_, Delta>)).answer(|| Delta::of(&*delta))
}

/// What a file says of its model.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    pub architecture: String,
    pub name: String,
    pub n_vocab: i32,
    pub n_ctx_train: i32,
    pub n_embd: i32,
    pub n_layer: i32,
    pub n_params: u64,
    pub weight_bytes: u64,
}

/// A model of a GGUF file, or of a Hugging Face directory. Any number of threads may use it.
#[derive(Clone)]
pub struct Model(Arc<ModelHandle>);

impl Model {
    pub fn load(path: impl AsRef<Path>, options: &ModelOptions) -> Result<Self> {
        Self::load_with(path, options, |_, _| ControlFlow::Continue(()))
    }

    /// Tells of done and total units; a break ends the loading (`Status::CANCELLED`).
    pub fn load_with(
        path: impl AsRef<Path>,
        options: &ModelOptions,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Self> {
        let mut texts = Texts::default();
        let path = path.as_ref().to_str().ok_or_else(|| refused("path is not UTF-8".into()))?;
        let path = texts.optional("path", Some(path))?;
        let mut given = sized!(sm_model_options);
        options.fill(&mut given, &mut texts)?;
        given.cancel_flag = flag(&options.cancel);
        let mut told = |(done, total)| progress(done, total);
        let mut hook = Hook { told: &mut told, panicked: None };
        given.progress = Some(on_progress);
        given.progress_user = &mut hook as *mut _ as *mut c_void;
        let mut made = null_mut();
        let result = call(|e| unsafe { sys::sm_model_load(&mut made, path, &given, e) });
        hook.outcome(result)?;
        Ok(Model(Arc::new(ModelHandle(made))))
    }

    pub fn info(&self) -> Result<ModelInfo> {
        let mut info = sized!(sm_model_info);
        call(|e| unsafe { sys::sm_model_get_info(self.raw(), &mut info, e) })?;
        Ok(ModelInfo {
            architecture: c_string(info.architecture),
            name: c_string(info.name),
            n_vocab: info.n_vocab,
            n_ctx_train: info.n_ctx_train,
            n_embd: info.n_embd,
            n_layer: info.n_layer,
            n_params: info.n_params,
            weight_bytes: info.weight_bytes,
        })
    }

    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let mut made = null_mut();
        call(|e| unsafe { sys::sm_model_get_tokenizer(self.raw(), &mut made, e) })?;
        Ok(Tokenizer(Arc::new(TokenizerHandle(made))))
    }

    pub fn session(&self, options: &SessionOptions) -> Result<Session> {
        let cancel = Canceller::new()?;
        let mut given = sized!(sm_session_options);
        options.fill(&mut given, &mut Texts::default())?;
        given.cancel_flag = cancel.raw();
        let mut made = null_mut();
        call(|e| unsafe { sys::sm_session_new(&mut made, self.raw(), &given, e) })?;
        Ok(Session(Arc::new(Core { handle: SessionHandle(made), cancel, model: self.clone() })))
    }

    /// What makes vectors and scores of texts.
    pub fn encoder(&self, options: &EncoderOptions) -> Result<Encoder> {
        let cancel = Canceller::new()?;
        let (mut given, mut texts) = (sized!(sm_encoder_options), Texts::default());
        options.fill(&mut given, &mut texts)?;
        given.cancel_flag = cancel.raw();
        let mut made = null_mut();
        call(|e| unsafe { sys::sm_encoder_new(&mut made, self.raw(), &given, e) })?;
        Ok(Encoder { handle: EncoderHandle(made), cancel, _model: self.clone() })
    }

    fn raw(&self) -> *mut sys::sm_model {
        self.0 .0
    }
}

/// Text to ids and back.
#[derive(Clone)]
pub struct Tokenizer(Arc<TokenizerHandle>);

/// A list whose length the library tells: asked for once more where it did not fit.
fn measured<T: Clone + Default>(
    guess: usize,
    mut ask: impl FnMut(*mut T, u64, *mut u64, *mut sys::sm_error) -> sys::sm_status,
) -> Result<Vec<T>> {
    let (mut out, mut n) = (vec![T::default(); guess], 0);
    loop {
        match call(|e| ask(out.as_mut_ptr(), out.len() as u64, &mut n, e)) {
            Ok(()) => {
                out.truncate(n as usize);
                return Ok(out);
            }
            Err(e) if e.status == Status::BUFFER => out.resize(n as usize, T::default()),
            Err(e) => return Err(e),
        }
    }
}

impl Tokenizer {
    /// `flags`: `sys::SM_ENCODE_…`.
    pub fn encode(&self, text: &str, flags: u32) -> Result<Vec<i32>> {
        let mut how = sized!(sm_encode_options);
        how.flags = flags;
        let (start, length) = (text.as_ptr() as *const c_char, text.len() as u64);
        measured(2 * text.len() + 16, |ids, room, n, e| unsafe {
            sys::sm_tokenizer_encode(self.raw(), start, length, &how, ids, room, n, e)
        })
    }

    /// Bytes: a text may end inside a character. `flags`: `sys::SM_DECODE_…`.
    pub fn decode(&self, ids: &[i32], flags: u32) -> Result<Vec<u8>> {
        measured(16 * ids.len() + 64, |text: *mut u8, room, n, e| unsafe {
            let (start, length) = (ids.as_ptr(), ids.len() as u64);
            sys::sm_tokenizer_decode(
                self.raw(),
                start,
                length,
                flags,
                text as *mut c_char,
                room,
                n,
                e,
            )
        })
    }

    fn raw(&self) -> *mut sys::sm_tokenizer {
        self.0 .0
    }
}

/// What a text must match.
#[derive(Clone)]
pub struct Constraint(Arc<ConstraintHandle>);

impl Constraint {
    /// A grammar or an expression; `kind`: `sys::SM_CONSTRAINT_…`.
    pub fn new(tokenizer: &Tokenizer, kind: u32, text: &str) -> Result<Self> {
        let (mut made, start, length) =
            (null_mut(), text.as_ptr() as *const c_char, text.len() as u64);
        call(|e| unsafe {
            sys::sm_constraint_new(&mut made, tokenizer.raw(), kind, start, length, null(), e)
        })?;
        Ok(Constraint(Arc::new(ConstraintHandle(made))))
    }
    /// A JSON Schema.
    pub fn schema(tokenizer: &Tokenizer, text: &str) -> Result<Self> {
        let (mut made, start, length) =
            (null_mut(), text.as_ptr() as *const c_char, text.len() as u64);
        call(|e| unsafe {
            sys::sm_constraint_new_schema(
                &mut made,
                tokenizer.raw(),
                start,
                length,
                null(),
                null(),
                e,
            )
        })?;
        Ok(Constraint(Arc::new(ConstraintHandle(made))))
    }
}

/// A generated piece; `id` is -1 where only text comes that had been waiting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Token {
    pub id: i32,
    pub logprob: f64,
    /// Whole characters of a text that is UTF-8.
    pub text: Vec<u8>,
    /// Likeliest tokens and their log-probabilities, best first: option `n_logprobs`.
    pub top: Vec<(i32, f64)>,
    /// Option `echo`.
    pub in_prompt: bool,
}

impl Token {
    fn of(c: &sys::sm_token) -> Self {
        let mut top = Vec::new();
        for i in 0..c.n_top as usize {
            // SAFETY: there are n_top
            let one = unsafe { *c.top.add(i) };
            top.push((one.id, one.logprob));
        }
        let text = bytes(c.text, c.length);
        Token { id: c.id, logprob: c.logprob, text, top, in_prompt: c.in_prompt != 0 }
    }
    pub fn text_lossy(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// What has become certain of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// `sys::SM_DELTA_…`
    pub kind: u32,
    /// Content, reasoning, or a call's arguments, a JSON object.
    pub text: String,
    /// Of a call.
    pub name: String,
    /// Of a call.
    pub id: String,
    /// The same as a "delta" of OpenAI's chunks.
    pub json: String,
}

impl Delta {
    fn of(c: &sys::sm_delta) -> Self {
        Delta {
            kind: c.kind,
            text: string(c.text, c.length),
            name: c_string(c.name),
            id: c_string(c.id),
            json: string(c.json, c.json_length),
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub content: String,
    pub reasoning: String,
    pub calls: Vec<Delta>,
    /// `{"message": …, "finish_reason": …, "usage": …}`
    pub json: String,
}

/// Options of an answer.
#[derive(Clone, Default)]
pub struct ChatOptions {
    pub generate: GenerateOptions,
    /// A JSON array as in OpenAI's API.
    pub tools: Option<String>,
    /// "auto", "none", "required", a name; none: auto where there are tools.
    pub tool_choice: Option<String>,
    /// More for the template, a JSON object.
    pub variables: Option<String>,
    /// Of the model's, or a layout; none: the model's own.
    pub template: Option<String>,
}

/// Messages, (role, content), as the JSON array that chats take.
pub fn messages(list: &[(&str, &str)]) -> String {
    fn quote(out: &mut String, text: &str) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    let mut out = String::from("[");
    for (i, (role, content)) in list.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"role\":" } else { "{\"role\":" });
        quote(&mut out, role);
        out.push_str(",\"content\":");
        quote(&mut out, content);
        out.push('}');
    }
    out + "]"
}

/// About the last text that was generated.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// `sys::SM_FINISH_…`
    pub finish: u32,
    pub prompt_tokens: u32,
    pub reused_tokens: u32,
    pub generated_tokens: u32,
    pub prompt_seconds: f64,
    pub generate_seconds: f64,
}

/// Options of sampling as the library takes them, and what they point to.
struct HeldSampling {
    given: sys::sm_sampling,
    _bias: Vec<sys::sm_logit_bias>,
    _breakers: Vec<sys::sm_text>,
    _texts: Texts,
}

impl HeldSampling {
    fn new(from: &Sampling) -> Result<Self> {
        let (mut given, mut held) = (sized!(sm_sampling), Texts::default());
        from.fill(&mut given, &mut held)?;
        let bias: Vec<_> = from
            .bias
            .iter()
            .map(|&(token, bias)| sys::sm_logit_bias { token, reserved: 0, bias })
            .collect();
        let breakers = texts(&from.dry_breaker_texts);
        (given.bias, given.n_bias) = (bias.as_ptr(), bias.len() as u64);
        (given.dry_breaker_texts, given.n_dry_breaker_texts) =
            (breakers.as_ptr(), breakers.len() as u64);
        Ok(HeldSampling { given, _bias: bias, _breakers: breakers, _texts: held })
    }
}

/// The same of generating.
struct Held {
    given: sys::sm_generate_options,
    _sampling: Box<HeldSampling>,
    _lists: [Vec<sys::sm_text>; 2],
}

impl Held {
    fn new(from: &GenerateOptions) -> Result<Self> {
        let mut given = sized!(sm_generate_options);
        from.fill(&mut given, &mut Texts::default())?; // which has no texts
        let sampling = Box::new(HeldSampling::new(&from.sampling)?);
        let lists = [texts(&from.stop), texts(&from.ban)];
        given.sampling = &sampling.given;
        (given.stop, given.n_stop) = (lists[0].as_ptr(), lists[0].len() as u64);
        (given.ban, given.n_ban) = (lists[1].as_ptr(), lists[1].len() as u64);
        given.constraint = from.constraint.as_ref().map_or(null_mut(), |c| c.0 .0);
        given.cancel_flag = flag(&from.cancel);
        Ok(Held { given, _sampling: sampling, _lists: lists })
    }
}

struct Core {
    handle: SessionHandle,
    cancel: Canceller,
    model: Model,
}

impl Core {
    fn raw(&self) -> *mut sys::sm_session {
        self.handle.0
    }

    /// A call that takes long: the flag is cleared behind it.
    fn long(&self, function: impl FnOnce(*mut sys::sm_error) -> sys::sm_status) -> Result<()> {
        let result = call(function);
        self.cancel.clear();
        result
    }

    fn generate(
        &self,
        prompt: &str,
        options: &GenerateOptions,
        told: &mut dyn FnMut(Token) -> ControlFlow<()>,
    ) -> Result<()> {
        let held = Held::new(options)?;
        let mut hook = Hook { told, panicked: None };
        let user = &mut hook as *mut _ as *mut c_void;
        let (start, length) = (prompt.as_ptr() as *const c_char, prompt.len() as u64);
        let result = self.long(|e| unsafe {
            let f = Some(on_token as unsafe extern "C" fn(_, _) -> _);
            sys::sm_session_generate(self.raw(), start, length, &held.given, f, user, e)
        });
        hook.outcome(result)
    }

    fn chat(
        &self,
        messages: &str,
        options: &ChatOptions,
        told: &mut dyn FnMut(Delta) -> ControlFlow<()>,
    ) -> Result<()> {
        let held = Held::new(&options.generate)?;
        let mut texts = Texts::default();
        let mut given = sized!(sm_answer_options);
        given.generate = &held.given;
        given.tool_choice = texts.optional("tool_choice", options.tool_choice.as_deref())?;
        given.variables = texts.optional("variables", options.variables.as_deref())?;
        let messages = texts.optional("messages", Some(messages))?;
        let tools = texts.optional("tools", options.tools.as_deref())?;
        let mut named = sized!(sm_chat_options);
        named.template_name = texts.optional("template", options.template.as_deref())?;
        let mut made = null_mut();
        call(|e| unsafe { sys::sm_chat_new_from_model(&mut made, self.model.raw(), &named, e) })?;
        let chat = ChatHandle(made);
        let mut hook = Hook { told, panicked: None };
        let user = &mut hook as *mut _ as *mut c_void;
        let result = self.long(|e| unsafe {
            let f = Some(on_delta as unsafe extern "C" fn(_, _) -> _);
            sys::sm_session_chat(self.raw(), chat.0, messages, tools, &given, f, user, e)
        });
        hook.outcome(result)
    }
}

/// A sequence of tokens with a model.
pub struct Session(Arc<Core>);

impl Session {
    /// What ends the call that runs, or the next one, from other threads and signal handlers.
    pub fn canceller(&self) -> Canceller {
        self.0.cancel.clone()
    }

    /// Tokens held.
    pub fn len(&self) -> usize {
        unsafe { sys::sm_session_length(self.0.raw()) as usize }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn tokens(&self) -> Result<Vec<i32>> {
        let (mut ids, mut n) = (vec![0; self.len()], 0);
        let (start, room) = (ids.as_mut_ptr(), ids.len() as u64);
        call(|e| unsafe { sys::sm_session_tokens(self.0.raw(), 0, start, room, &mut n, e) })?;
        ids.truncate(n as usize);
        Ok(ids)
    }

    pub fn stats(&self) -> Result<Stats> {
        let mut found = sized!(sm_generate_stats);
        call(|e| unsafe { sys::sm_session_get_stats(self.0.raw(), &mut found, e) })?;
        Ok(Stats {
            finish: found.finish,
            prompt_tokens: found.prompt_tokens,
            reused_tokens: found.reused_tokens,
            generated_tokens: found.generated_tokens,
            prompt_seconds: found.prompt_seconds,
            generate_seconds: found.generate_seconds,
        })
    }

    /// Appends tokens and computes them.
    pub fn feed(&mut self, ids: &[i32]) -> Result<()> {
        let (start, n) = (ids.as_ptr(), ids.len() as u64);
        self.0.long(|e| unsafe { sys::sm_session_feed(self.0.raw(), start, n, e) })
    }

    /// Makes it hold exactly these tokens; how many of them it held already.
    pub fn sync(&mut self, ids: &[i32]) -> Result<u64> {
        let (start, n, mut reused) = (ids.as_ptr(), ids.len() as u64, 0);
        self.0.long(|e| unsafe { sys::sm_session_sync(self.0.raw(), start, n, &mut reused, e) })?;
        Ok(reused)
    }

    pub fn rewind(&mut self, length: u32) -> Result<()> {
        self.0.long(|e| unsafe { sys::sm_session_rewind(self.0.raw(), length, e) })
    }

    /// After the last token. A borrow: feeding waits until it has gone.
    pub fn logits(&mut self) -> Result<&[f32]> {
        let (mut first, mut n) = (null(), 0);
        call(|e| unsafe { sys::sm_session_logits(self.0.raw(), &mut first, &mut n, e) })?;
        // SAFETY: valid until the session is next fed, for which this borrow has to end
        Ok(unsafe { std::slice::from_raw_parts(first, n as usize) })
    }

    /// The next token, and its log-probability.
    pub fn sample(&mut self, sampling: &Sampling) -> Result<(i32, f64)> {
        let held = HeldSampling::new(sampling)?;
        let mut choice = sized!(sm_choice);
        call(|e| unsafe { sys::sm_session_sample(self.0.raw(), &held.given, &mut choice, e) })?;
        Ok((choice.id, choice.logprob))
    }

    /// A second session with the same tokens.
    pub fn fork(&self, options: &ForkOptions) -> Result<Session> {
        let cancel = Canceller::new()?;
        let mut given = sized!(sm_fork_options);
        options.fill(&mut given, &mut Texts::default())?;
        given.cancel_flag = cancel.raw();
        let mut made = null_mut();
        self.0.long(|e| unsafe { sys::sm_session_fork(&mut made, self.0.raw(), &given, e) })?;
        let model = self.0.model.clone();
        Ok(Session(Arc::new(Core { handle: SessionHandle(made), cancel, model })))
    }

    /// Continues a text and tells each token on this thread; a break ends it
    /// (`Status::CANCELLED`).
    pub fn generate(
        &mut self,
        prompt: &str,
        options: &GenerateOptions,
        mut told: impl FnMut(Token) -> ControlFlow<()>,
    ) -> Result<()> {
        self.0.generate(prompt, options, &mut told)
    }

    /// The whole continuation; what is no UTF-8 becomes U+FFFD.
    pub fn complete(&mut self, prompt: &str, options: &GenerateOptions) -> Result<String> {
        let mut text = Vec::new();
        self.generate(prompt, options, |token| {
            text.extend(token.text);
            ControlFlow::Continue(())
        })?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Continues a text: tokens while they come. Dropping it ends the call.
    pub fn stream(&mut self, prompt: &str, options: GenerateOptions) -> Stream<'_, Token> {
        let prompt = prompt.to_owned();
        Stream::new(&self.0, move |core, told| core.generate(&prompt, &options, told))
    }

    /// Answers messages (a JSON array as in OpenAI's API; [`messages`] makes one) and tells each
    /// delta, last `SM_DELTA_END`.
    pub fn chat_with(
        &mut self,
        messages: &str,
        options: &ChatOptions,
        mut told: impl FnMut(Delta) -> ControlFlow<()>,
    ) -> Result<()> {
        self.0.chat(messages, options, &mut told)
    }

    /// Answers: deltas while they come. Dropping it ends the call.
    pub fn stream_chat(&mut self, messages: &str, options: ChatOptions) -> Stream<'_, Delta> {
        let messages = messages.to_owned();
        Stream::new(&self.0, move |core, told| core.chat(&messages, &options, told))
    }

    /// The whole answer.
    pub fn chat(&mut self, messages: &str, options: &ChatOptions) -> Result<Answer> {
        let mut answer = Answer::default();
        self.chat_with(messages, options, |delta| {
            match delta.kind {
                sys::SM_DELTA_CONTENT => answer.content += &delta.text,
                sys::SM_DELTA_REASONING => answer.reasoning += &delta.text,
                sys::SM_DELTA_CALL => answer.calls.push(delta),
                sys::SM_DELTA_END => answer.json = delta.json,
                _ => (), // of a later version
            }
            ControlFlow::Continue(())
        })?;
        Ok(answer)
    }
}

/// What an encoder makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderInfo {
    /// `sys::SM_POOLING_…`
    pub pooling: u32,
    /// Of vectors.
    pub n_dims: u32,
    /// Of hidden states.
    pub n_embd: u32,
    /// Of a text.
    pub max_tokens: u32,
    /// Scores of a text; 0: the model has none.
    pub n_labels: u32,
}

/// Vectors and scores of texts, which are computed together and have the same bits as alone.
pub struct Encoder {
    handle: EncoderHandle,
    cancel: Canceller,
    _model: Model,
}

impl Encoder {
    /// What ends the call that runs, or the next one, from other threads and signal handlers.
    pub fn canceller(&self) -> Canceller {
        self.cancel.clone()
    }

    pub fn info(&self) -> Result<EncoderInfo> {
        let mut found = sized!(sm_encoder_info);
        call(|e| unsafe { sys::sm_encoder_get_info(self.handle.0, &mut found, e) })?;
        Ok(EncoderInfo {
            pooling: found.pooling,
            n_dims: found.n_dims,
            n_embd: found.n_embd,
            max_tokens: found.max_tokens,
            n_labels: found.n_labels,
        })
    }

    /// The names of the scores of a text; "" for one that has none.
    pub fn labels(&self) -> Result<Vec<String>> {
        let name = |i| {
            let mut length = 0;
            let start = unsafe { sys::sm_encoder_label(self.handle.0, i, &mut length) };
            string(start, length)
        };
        Ok((0..self.info()?.n_labels).map(name).collect())
    }

    /// The vectors of texts, in their order.
    pub fn embed(&mut self, of: &[impl AsRef<str>]) -> Result<Vec<Vec<f32>>> {
        let width = self.info()?.n_dims;
        self.rows(of, width, |encoder, list, n, to, room, e| unsafe {
            sys::sm_encoder_embed(encoder, list, n, to, room, e)
        })
    }

    /// The scores of texts by labels, in their order.
    pub fn score(&mut self, of: &[impl AsRef<str>]) -> Result<Vec<Vec<f32>>> {
        let width = self.info()?.n_labels;
        self.rows(of, width, |encoder, list, n, to, room, e| unsafe {
            sys::sm_encoder_score(encoder, list, n, to, room, e)
        })
    }

    /// How well documents answer a query, the greater the better.
    pub fn rerank(&mut self, query: &str, documents: &[impl AsRef<str>]) -> Result<Vec<f32>> {
        let (start, length) = (query.as_ptr() as *const c_char, query.len() as u64);
        let rows = self.rows(documents, 1, |encoder, list, n, to, room, e| unsafe {
            sys::sm_encoder_rerank(encoder, start, length, list, n, to, room, e)
        })?;
        Ok(rows.concat())
    }

    fn rows(
        &mut self,
        of: &[impl AsRef<str>],
        width: u32,
        fill: impl FnOnce(
            *mut sys::sm_encoder,
            *const sys::sm_text,
            u64,
            *mut f32,
            u64,
            *mut sys::sm_error,
        ) -> sys::sm_status,
    ) -> Result<Vec<Vec<f32>>> {
        let list: Vec<_> = of
            .iter()
            .map(|t| t.as_ref())
            .map(|t| sys::sm_text { text: t.as_ptr() as *const c_char, length: t.len() as u64 })
            .collect();
        // without labels the call says what is wrong
        let mut all = vec![0.0; (list.len() * width as usize).max(1)];
        let (n, room) = (list.len() as u64, all.len() as u64);
        let result =
            call(|e| fill(self.handle.0, list.as_ptr(), n, all.as_mut_ptr(), room, e));
        self.cancel.clear();
        result?;
        Ok((0..list.len()).map(|i| all[i * width as usize..][..width as usize].to_vec()).collect())
    }
}

/// How many pieces a stream's thread is ahead at most.
const AHEAD: usize = 64;

/// What a call tells, piece by piece: the call runs in a thread of its own. The session is borrowed
/// meanwhile.
pub struct Stream<'a, T> {
    pieces: Option<Receiver<Result<T>>>,
    thread: Option<JoinHandle<()>>,
    core: &'a Core,
}

impl<'a, T: Send + 'static> Stream<'a, T> {
    fn new(
        core: &'a Arc<Core>,
        run: impl FnOnce(&Core, &mut dyn FnMut(T) -> ControlFlow<()>) -> Result<()> + Send + 'static,
    ) -> Self {
        let (put, pieces) = sync_channel(AHEAD);
        let used = Arc::clone(core);
        let thread = std::thread::spawn(move || {
            let result = run(&used, &mut |piece| match put.send(Ok(piece)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()), // nobody reads on
            });
            if let Err(e) = result {
                let _ = put.send(Err(e));
            }
        });
        Stream { pieces: Some(pieces), thread: Some(thread), core }
    }
}

impl<T> Iterator for Stream<'_, T> {
    type Item = Result<T>;
    fn next(&mut self) -> Option<Result<T>> {
        self.pieces.as_ref()?.recv().ok()
    }
}

impl<T> Drop for Stream<'_, T> {
    fn drop(&mut self) {
        self.pieces = None; // what waits to put a piece fails
        let Some(thread) = self.thread.take() else { return };
        if !thread.is_finished() {
            self.core.cancel.set();
        }
        let _ = thread.join(); // the closure does not panic: no code of the user's is in it
        self.core.cancel.clear();
    }
}
