//! Methods of an application's own: whole dialogues, and messages that come at another time.

use super::*;

const STAMP: &str = "stamp@example.org";

fn server() -> AuthServer {
    let mut server = super::server();
    server.set_methods(vec!["password", STAMP, "bare"]);
    server
}

fn message(number: u8, data: &str) -> MethodMessage {
    MethodMessage::new(number, data).unwrap()
}

fn payload(number: u8, data: &str) -> Vec<u8> {
    message(number, data).to_payload().to_vec()
}

/// Brings the server to where it awaits the client's answer.
fn asked() -> AuthServer {
    let mut server = server();
    assert!(!server.awaits_method());
    let actions = server.feed(&request("me", STAMP, b"fields")).unwrap();
    match &actions[..] {
        [ServerAction::Ask(Question::Method { user, method, fields })] => {
            assert_eq!((user.as_str(), *method, fields.expose()), ("me", STAMP, &b"fields"[..]));
        }
        other => panic!("{other:?}"),
    }
    let actions = server.method_answer(MethodAnswer::Ask(message(60, "what?")));
    assert!(matches!(&actions[..], [ServerAction::Send(sent)] if *sent == payload(60, "what?")));
    assert!(server.awaits_method());
    server
}

fn refused(actions: &[ServerAction]) -> bool {
    matches!(actions, [ServerAction::Refuse(_)])
}

#[test]
fn messages_have_numbers_of_methods_and_lengths_that_fit() {
    for number in 0..=255 {
        assert_eq!(MethodMessage::new(number, "").is_some(), (60..=79).contains(&number), "{number}");
        let read = MethodMessage::read(&[number, 1, 2]);
        assert_eq!(read.is_some(), (60..=79).contains(&number), "{number}");
        assert!(read.is_none_or(|read| read.number() == number && read.data() == [1, 2]));
    }
    assert!(MethodMessage::read(b"").is_none());
    assert!(MethodMessage::new(60, vec![0; MethodMessage::MAX_DATA]).is_some());
    assert!(MethodMessage::new(60, vec![0; MethodMessage::MAX_DATA + 1]).is_none());
    assert!(!format!("{:?}", message(60, "confidential")).contains("confidential"));
}

#[test]
fn a_dialogue_to_its_verdict() {
    for verdict in [AuthAnswer::Accept, AuthAnswer::Partial, AuthAnswer::Refuse] {
        let mut server = asked();
        for number in [79, 60, 66] {
            let actions = server.feed(&payload(number, "this")).unwrap();
            match &actions[..] {
                [ServerAction::Ask(Question::MethodResponse { user, method, message })] => {
                    assert_eq!((user.as_str(), *method), ("me", STAMP));
                    assert_eq!((message.number(), message.data()), (number, &b"this"[..]));
                }
                other => panic!("{other:?}"),
            }
            assert!(!server.awaits_method());
            let actions = server.method_answer(MethodAnswer::Ask(message(61, "and?")));
            assert!(matches!(&actions[..], [ServerAction::Send(_)]));
        }
        server.feed(&payload(61, "")).unwrap();
        let actions = server.method_answer(MethodAnswer::Done(verdict.clone()));
        match (&verdict, &actions[..]) {
            (AuthAnswer::Accept, [ServerAction::Success(info, _)]) => {
                assert_eq!((info.user.as_str(), &info.methods[..]), ("me", &[STAMP][..]));
            }
            (AuthAnswer::Partial, [ServerAction::Send(failure)]) => {
                let failure = UserauthFailure::decode_packet(failure).unwrap();
                assert!(failure.partial_success);
                assert_eq!(failure.methods.names().collect::<Vec<_>>(), ["password", "bare"]);
            }
            (AuthAnswer::Refuse, [ServerAction::Refuse(_)]) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_allowed_is_kept_and_odd_answers_refuse() {
    let mut server = asked();
    server.feed(&payload(61, "")).unwrap();
    let granted = AuthAnswer::AcceptWith(Box::new(Permissions::restricted()));
    match &server.method_answer(MethodAnswer::Done(granted))[..] {
        [ServerAction::Success(info, _)] => assert!(!info.permissions.pty),
        other => panic!("{other:?}"),
    }
    let mut server = asked();
    server.feed(&payload(61, "")).unwrap();
    assert!(refused(
        &server.method_answer(MethodAnswer::Done(AuthAnswer::ChangePassword("another".to_owned())))
    ));
    // Nobody was asked.
    for mut server in [super::server(), asked()] {
        assert!(refused(&server.method_answer(MethodAnswer::Done(AuthAnswer::Accept))));
    }
    // An answer to another kind of question.
    let mut server = self::server();
    server.feed(&request("me", STAMP, b"")).unwrap();
    assert!(refused(&server.answer(AuthAnswer::Accept)));
    let mut server = self::server();
    server.feed(&request("me", STAMP, b"")).unwrap();
    assert!(refused(&server.interactive_answer(InteractiveAnswer::Done(AuthAnswer::Accept))));
}

#[test]
fn what_is_not_offered_is_refused_unasked() {
    for method in ["other@example.org", "bare", "", "stamp@example.or", "publickey@example.org"] {
        assert!(refused(&server().feed(&request("me", method, b"")).unwrap()), "{method}");
    }
    assert!(refused(&super::server().feed(&request("me", STAMP, b"")).unwrap()));
    let mut lists = server();
    lists.require(AuthenticationMethods::parse("password,stamp@example.org"));
    assert!(refused(&lists.feed(&request("me", STAMP, b"")).unwrap()), "before its turn");
    lists.require(AuthenticationMethods::parse("stamp@example.org"));
    assert!(matches!(lists.feed(&request("me", STAMP, b"")).unwrap()[..], [ServerAction::Ask(_)]));
    // A name that no user may have is refused as for every method.
    assert!(refused(&server().feed(&request("a\0b", STAMP, b"")).unwrap()));
}

#[test]
fn messages_at_another_time_end_the_connection() {
    for number in (60..=79).chain([0, 52, 59, 80]) {
        let mut message = vec![number];
        message.extend(b"data");
        let error = Err(AuthError::Unexpected(number));
        assert_eq!(server().feed(&message).map(drop), error, "before a request");
        let mut asking = server();
        asking.feed(&request("me", STAMP, b"")).unwrap();
        assert_eq!(asking.feed(&message).map(drop), error, "while the application is asked");
        if !(60..=79).contains(&number) {
            assert_eq!(asked().feed(&message).map(drop), error, "no number of a method's");
        }
        if number != 61 {
            let mut prompted = super::server();
            prompted.feed(&request("me", "keyboard-interactive", &[0; 8])).unwrap();
            let query = InteractiveQuery::new("", "").prompt("code", false);
            drop(prompted.interactive_answer(InteractiveAnswer::Ask(query)));
            assert_eq!(prompted.feed(&message).map(drop), error, "in another method");
        }
    }
    let mut done = asked();
    done.feed(&payload(61, "")).unwrap();
    drop(done.method_answer(MethodAnswer::Done(AuthAnswer::Accept)));
    assert!(!done.awaits_method());
    // What crosses the success is let pass, what cannot is not.
    assert!(done.feed(&payload(61, "")).unwrap().is_empty());
    assert!(done.feed(&payload(62, "")).is_err());
}

#[test]
fn another_request_gives_a_dialogue_up() {
    let mut server = asked();
    let mut password = Vec::new();
    password.put(&false).put("secret");
    let actions = server.feed(&request("me", "password", &password)).unwrap();
    assert!(matches!(actions[..], [ServerAction::Ask(Question::Password { .. })]));
    assert!(!server.awaits_method());
    drop(server.answer(AuthAnswer::Refuse));
    assert_eq!(server.feed(&payload(61, "this")).map(drop), Err(AuthError::Unexpected(61)));
}

#[test]
fn rounds_and_failures_are_counted() {
    let mut server = asked();
    for _ in 1..SERVER.rounds {
        server.feed(&payload(61, "")).unwrap();
        assert!(!refused(&server.method_answer(MethodAnswer::Ask(message(60, "")))));
    }
    server.feed(&payload(61, "")).unwrap();
    assert!(refused(&server.method_answer(MethodAnswer::Ask(message(60, "")))), "one round too many");
    let mut server = self::server();
    for attempt in 1..=SERVER.tries {
        server.feed(&request("me", STAMP, b"")).unwrap();
        let actions = server.method_answer(MethodAnswer::Done(AuthAnswer::Refuse));
        let last = matches!(actions[..], [ServerAction::TooMany]);
        assert_eq!((last, refused(&actions)), (attempt == SERVER.tries, attempt < SERVER.tries));
    }
}

/// Brings the client to where a message of the server's may come.
fn begun() -> AuthClient {
    let mut client = client();
    let actions = client.attempt(Attempt::Own { method: STAMP, fields: Secret::from("fields") }).unwrap();
    assert!(matches!(&actions[..], [ClientAction::Send(sent)] if **sent == request("me", STAMP, b"fields")));
    assert!(client.awaits_method());
    client
}

#[test]
fn a_client_answers_in_turn() {
    let mut client = begun();
    for number in [60, 79] {
        let actions = client.feed(&payload(number, "what?")).unwrap();
        assert!(matches!(&actions[..], [ClientAction::Method(message)]
            if message.number() == number && message.data() == b"what?"));
        assert!(!client.awaits_method());
        // It has not answered yet: nothing is decided.
        for early in [payload(60, ""), UserauthSuccess {}.to_vec()] {
            let mut impatient = begun();
            impatient.feed(&payload(60, "")).unwrap();
            assert!(impatient.feed(&early).is_err());
        }
        let actions = client.method_answer(&message(66, "this")).unwrap();
        assert!(matches!(&actions[..], [ClientAction::Send(sent)] if **sent == payload(66, "this")));
        assert!(client.method_answer(&message(66, "again")).is_err());
    }
    let success = client.feed(&UserauthSuccess {}.to_vec()).unwrap();
    assert!(matches!(success[..], [ClientAction::Success]));
}

#[test]
fn a_client_takes_no_messages_at_another_time() {
    for number in 60..=79 {
        assert!(client().feed(&payload(number, "")).is_err(), "{number} unasked");
        let mut other = client();
        other.attempt(Attempt::None).unwrap();
        assert!(other.feed(&payload(number, "")).is_err(), "{number} in another method");
        let mut over = begun();
        over.feed(&UserauthSuccess {}.to_vec()).unwrap();
        assert!(over.feed(&payload(number, "")).is_err(), "{number} after success");
        let mut gone = begun();
        gone.give_up();
        assert!(gone.feed(&payload(number, "")).is_err(), "{number} after it was given up");
    }
    let mut client = begun();
    for _ in 0..CLIENT.rounds {
        client.feed(&payload(60, "")).unwrap();
        client.method_answer(&message(61, "")).unwrap();
    }
    assert!(matches!(client.feed(&payload(60, "")), Err(AuthError::TooMany(_))));
}
