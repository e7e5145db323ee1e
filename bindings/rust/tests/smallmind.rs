//! SMALLMIND_TEST_MODEL names a model with a vocabulary.
use smallmind::{messages, sys, *};
use std::ops::ControlFlow::{Break, Continue};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Mutex;
use std::time::Duration;

fn path() -> String {
    std::env::var("SMALLMIND_TEST_MODEL").expect("SMALLMIND_TEST_MODEL")
}

fn load() -> Model {
    Model::load(path(), &Default::default()).unwrap()
}

fn session(model: &Model) -> Session {
    model.session(&SessionOptions { n_ctx: 64, n_threads: 1, ..Default::default() }).unwrap()
}

fn few(max_tokens: u32) -> GenerateOptions {
    GenerateOptions { max_tokens, ..Default::default() }
}

fn many() -> GenerateOptions {
    GenerateOptions {
        max_tokens: 1_000_000,
        ignore_end: true,
        context_full: sys::SM_CONTEXT_SLIDE,
        ..Default::default()
    }
}

#[test]
fn texts_there_and_back() {
    let model = load();
    let tokenizer = model.tokenizer().unwrap();
    let ids = tokenizer.encode("and the end\0!", 0).unwrap();
    assert!(ids.len() > 2);
    assert_eq!(
        String::from_utf8(tokenizer.decode(&ids, 0).unwrap()).unwrap().trim(),
        "and the end\0!"
    );
    assert_eq!(model.info().unwrap().architecture, "llama");
    assert!(tokenizer.encode("", 0).unwrap().is_empty());
    assert_eq!(tokenizer.decode(&[1 << 30], 0).unwrap_err().status, Status::TOKEN);
}

#[test]
fn errors_have_status_and_message() {
    let error = Model::load("/nonexistent/m.gguf", &Default::default()).err().unwrap();
    assert_eq!((error.status, error.system), (Status::IO, 2));
    assert!(error.to_string().contains("/nonexistent"));
    assert_eq!(Model::load("a\0b", &Default::default()).err().unwrap().status, Status::ARGUMENT);
    let model = load();
    let wrong = SessionOptions { n_threads: 100_000, ..Default::default() };
    assert!(model.session(&wrong).err().unwrap().message.contains("n_threads"));
    let mut session = session(&model);
    assert_eq!(session.feed(&[1 << 30]).unwrap_err().status, Status::TOKEN);
    assert_eq!(session.logits().unwrap_err().status, Status::STATE);
    let wrong = GenerateOptions { n_logprobs: 1000, ..Default::default() };
    let said: Vec<_> = session.stream("Once", wrong).collect();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].as_ref().unwrap_err().status, Status::ARGUMENT);
}

#[test]
fn streams() {
    let mut session = session(&load());
    let whole = session.complete("Once", &few(12)).unwrap();
    assert!(!whole.is_empty());
    let options = GenerateOptions { n_logprobs: 2, ..few(12) };
    let tokens: Vec<Token> = session.stream("Once", options).map(Result::unwrap).collect();
    let text: Vec<u8> = tokens.iter().flat_map(|t| t.text.clone()).collect();
    assert_eq!(String::from_utf8_lossy(&text), whole);
    assert!(tokens.iter().all(|t| t.id < 0 || t.top.len() == 2 && t.top[0].0 == t.id));
    assert_eq!(session.stats().unwrap().finish, sys::SM_FINISH_LENGTH);
    for _ in 0..20 {
        assert!(session.stream("Once", many()).next().unwrap().is_ok());
        drop(session.stream("Once", many()));
    }
    std::mem::forget(session.stream("Once", many())); // its thread keeps the session
    let other = session.fork(&Default::default());
    assert!(other.is_ok() || other.err().unwrap().status == Status::STATE);
}

#[test]
fn zero_can_be_said() {
    let mut session = session(&load());
    session.feed(&[1, 2, 3]).unwrap();
    let (greedy, _) = session.sample(&Default::default()).unwrap();
    let hot = |seed, top_p| Sampling { temperature: 100.0, seed, top_p, ..Default::default() };
    let mut draw = |seed, top_p| session.sample(&hot(seed, top_p)).unwrap().0;
    assert!((0..40).all(|seed| draw(seed, Some(0.0)) == greedy));
    assert!((0..40).any(|seed| draw(seed, None) != greedy));
    let banned = Sampling { bias: vec![(greedy, -1000.0)], ..Default::default() };
    assert_ne!(session.sample(&banned).unwrap().0, greedy);
}

#[test]
fn panics_come_out_behind_the_call() {
    let mut session = session(&load());
    let mut told = 0;
    let panic = catch_unwind(AssertUnwindSafe(|| {
        session.generate("Once", &many(), |_| {
            told += 1;
            if told == 3 {
                std::panic::panic_any("enough");
            }
            Continue(())
        })
    }))
    .unwrap_err();
    assert_eq!((*panic.downcast_ref::<&str>().unwrap(), told), ("enough", 3));
    let stopped = session.generate("Once", &many(), |_| Break(())).unwrap_err();
    assert_eq!(stopped.status, Status::CANCELLED);
    let loading = catch_unwind(|| {
        Model::load_with(path(), &Default::default(), |_, _| std::panic::panic_any(5)).is_ok()
    });
    assert_eq!(*loading.unwrap_err().downcast_ref::<i32>().unwrap(), 5);
    assert!(!session.complete("Once", &few(3)).unwrap().is_empty());
}

#[test]
fn other_threads_cancel() {
    let mut session = session(&load());
    let flag = session.canceller();
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        flag.set();
    });
    assert_eq!(session.complete("Once", &many()).unwrap_err().status, Status::CANCELLED);
    other.join().unwrap();
    let flag = Canceller::new().unwrap();
    flag.set();
    let options = GenerateOptions { cancel: Some(flag.clone()), ..many() };
    assert_eq!(session.complete("Once", &options).unwrap_err().status, Status::CANCELLED);
    let options = ModelOptions { cancel: Some(flag.clone()), ..Default::default() };
    assert_eq!(Model::load(path(), &options).err().unwrap().status, Status::CANCELLED);
    flag.clear();
    assert!(!flag.is_set() && Model::load(path(), &options).is_ok());
    session.feed(&[1, 2]).unwrap(); // nothing is left of it
}

static SIGNALLED: Mutex<Option<Canceller>> = Mutex::new(None);

extern "C" fn on_signal(_: i32) {
    // sm_cancel_set may be called here; the lock is free, as nothing else takes it meanwhile
    if let Ok(flag) = SIGNALLED.try_lock() {
        flag.as_ref().unwrap().set();
    }
}

extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn raise(number: i32) -> i32;
}

#[test]
fn signals_cancel() {
    const SIGUSR1: i32 = 10;
    let mut session = session(&load());
    *SIGNALLED.lock().unwrap() = Some(session.canceller());
    unsafe { signal(SIGUSR1, on_signal) };
    let mut sent = false;
    let result = session.generate("Once", &many(), |_| {
        if !std::mem::replace(&mut sent, true) {
            unsafe { raise(SIGUSR1) };
        }
        Continue(())
    });
    assert_eq!(result.unwrap_err().status, Status::CANCELLED);
}

#[test]
fn any_order_of_ends() {
    let model = load();
    let tokenizer = model.tokenizer().unwrap();
    let mut first = session(&model);
    drop(model);
    let ids = tokenizer.encode("Once upon a time", sys::SM_ENCODE_MARKERS).unwrap();
    first.feed(&ids).unwrap();
    let logits = first.logits().unwrap().to_vec();
    let mut fork = first.fork(&Default::default()).unwrap();
    drop(first);
    drop(tokenizer);
    assert_eq!(fork.logits().unwrap(), logits);
    assert_eq!(fork.tokens().unwrap(), ids);
    fork.rewind(1).unwrap();
    assert_eq!((fork.len(), fork.sync(&ids).unwrap()), (1, 1));
    assert_eq!(fork.logits().unwrap(), logits);
    let moved = std::thread::spawn(move || fork.complete("Once", &few(3)).unwrap());
    assert!(!moved.join().unwrap().is_empty());
}

#[test]
fn chat() {
    let model = load();
    let mut session =
        model.session(&SessionOptions { n_threads: 1, ..Default::default() }).unwrap();
    drop(model);
    let asked = messages(&[("user", "A \"quoted\"\nline\u{1} \\ ä")]);
    assert_eq!(asked, r#"[{"role":"user","content":"A \"quoted\"\u000aline\u0001 \\ ä"}]"#);
    let options =
        ChatOptions { template: Some("chatml".into()), generate: few(8), ..Default::default() };
    let answer = session.chat(&asked, &options).unwrap();
    assert!(answer.json.contains("\"finish_reason\""));
    let deltas: Vec<Delta> =
        session.stream_chat(&asked, options.clone()).map(Result::unwrap).collect();
    assert_eq!(deltas.last().unwrap().kind, sys::SM_DELTA_END);
    let told = deltas.iter().filter(|d| d.kind == sys::SM_DELTA_CONTENT);
    assert_eq!(told.map(|d| d.text.as_str()).collect::<String>(), answer.content);
    let wrong = ChatOptions { template: Some("no such layout".into()), ..options };
    assert_eq!(session.chat(&asked, &wrong).unwrap_err().status, Status::ARGUMENT);
}

#[test]
fn constraints() {
    let model = load();
    let tokenizer = model.tokenizer().unwrap();
    let schema = Constraint::schema(&tokenizer, r#"{"enum": ["a", "b"]}"#).unwrap();
    let options = GenerateOptions { constraint: Some(schema), ..few(20) };
    let text = session(&model).complete("Once", &options).unwrap();
    assert!(text == "\"a\"" || text == "\"b\"", "{text}");
    let digits = Constraint::new(&tokenizer, sys::SM_CONSTRAINT_REGEX, "[0-9]{3}").unwrap();
    let options = GenerateOptions { constraint: Some(digits), ..few(20) };
    assert_eq!(session(&model).complete("Once", &options).unwrap().len(), 3);
    assert_eq!(Constraint::schema(&tokenizer, "{").err().unwrap().status, Status::FORMAT);
}

#[test]
fn vectors_of_texts() {
    let model = load();
    let mut encoder =
        model.encoder(&EncoderOptions { n_threads: 1, ..Default::default() }).unwrap();
    drop(model);
    let info = encoder.info().unwrap();
    let vectors = encoder.embed(&["Once upon a time", "and the end", ""]).unwrap();
    assert!(vectors.len() == 3 && vectors.iter().all(|v| v.len() == info.n_dims as usize));
    assert!((vectors[0].iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4);
    assert_ne!(vectors[0], vectors[1]);
    assert_eq!(encoder.embed(&["and the end".to_string()]).unwrap()[0], vectors[1]);
    assert!(encoder.embed(&[""; 0]).unwrap().is_empty());
    assert!(info.n_labels == 0 && encoder.labels().unwrap().is_empty());
    assert_eq!(encoder.score(&["Once"]).unwrap_err().status, Status::UNSUPPORTED);
    assert_eq!(encoder.rerank("Once", &["a"]).unwrap_err().status, Status::UNSUPPORTED);
    encoder.canceller().set();
    assert_eq!(encoder.embed(&["Once"]).unwrap_err().status, Status::CANCELLED);
    let few = EncoderOptions { n_dims: 8, pooling: sys::SM_POOLING_MEAN, ..Default::default() };
    let mut encoder = load().encoder(&few).unwrap();
    assert_eq!(encoder.embed(&["Once"]).unwrap()[0].len(), 8);
    assert_eq!(encoder.info().unwrap().pooling, sys::SM_POOLING_MEAN);
}

#[test]
fn the_version_is_the_librarys() {
    assert_eq!(unsafe { sys::sm_abi() }, sys::SM_ABI);
    assert!(version().starts_with(&format!("{}.", sys::SM_VERSION_MAJOR)));
}

#[test]
fn the_readme_shows_the_example() {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let example = std::fs::read_to_string("examples/hello.rs").unwrap();
    assert!(readme.contains(&format!("```rust\n{example}```")));
}
