package dovecotauth

import (
	"context"
	"net/netip"
	"runtime"
	"testing"

	"peyk/internal/status"
)

const followLine = "< AUTH | 1 | PEYK-FOLLOW | service=imap | nologin | peyk_obeys | secured | resp=\n"

// TestFollowDialogue holds the bytes of following: each change is told once it
// was asked for, and a connection made anew begins with the request.
func TestFollowDialogue(t *testing.T) {
	auth := NewAuth(script(t,
		hello+followLine+"> CONT | 1 | \n< CONT | 1 | \n> CONT | 1 | ZXhhbXBsZS5vcmc=\n< CONT | 1 | \nclose",
		hello+followLine+"> CONT | 1 | *no base64*\n", // a server that is out of its mind is left alone for a while
		hello+"< AUTH | 1 | PEYK-FOLLOW*\nwait"), Options{})
	defer auth.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	heard := make(chan string, 10)
	go func() {
		auth.Follow(ctx, "imap", func(domain string) { heard <- domain })
		close(done)
	}()
	if first, second := <-heard, <-heard; first != "" || second != "example.org" {
		t.Errorf("heard %q and %q", first, second)
	}
	cancel()
	<-done
}

// TestFollowAnotherServer holds that a server which knows nothing of this is
// asked once for each connection, and that logins on it go on.
func TestFollowAnotherServer(t *testing.T) {
	auth := NewAuth(script(t, hello+followLine+"> FAIL | 1 | reason=Unsupported authentication mechanism.\n< AUTH | 2 | PLAIN*\n> OK | 2 | user=alice\n< AUTH | 3 | PLAIN*\n> OK | 3 | user=alice\nwait"), Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		auth.Follow(ctx, "imap", func(domain string) { t.Errorf("heard %q", domain) })
		close(done)
	}()
	for !followed(auth) { // the requests of logins must come after it
		runtime.Gosched()
	}
	for range 2 {
		if login, err := auth.Authenticate(context.Background(), "imap", "PLAIN", []byte("\x00alice\x00x"), AuthInfo{}); err != nil || login.User != "alice" || login.Ticket() != "" {
			t.Errorf("login = %v, %v", login, err)
		}
	}
	cancel()
	<-done
	auth.Close()
}

// followed reports whether a first request has been made on the connection.
func followed(a *Auth) bool {
	a.mux.mu.Lock()
	defer a.mux.mu.Unlock()
	if a.mux.link == nil {
		return false
	}
	a.mux.link.mu.Lock()
	defer a.mux.link.mu.Unlock()
	return a.mux.link.next > 0
}

// TestCheckDialogue holds what each answer means: only one that says so ends a
// session.
func TestCheckDialogue(t *testing.T) {
	ask := "< AUTH | 1 | PEYK-CHECK | service=imap | nologin | peyk_obeys | secured | rip=192.0.2.1 | resp=YWxpY2UAcGFzc3dvcmQgMQ==\n"
	for answer, want := range map[string]struct {
		good   bool
		reason string
		code   int
	}{
		"> OK | 1 | user=alice": {true, "", 0},
		"> FAIL | 1 | user=alice | reason=suspended | code=peyk_ended": {false, "suspended", 0},
		"> FAIL | 1 | user=alice | temp | code=temp_fail":              {false, "", 454},
		"> FAIL | 1 | reason=Unsupported authentication mechanism.":    {false, "", 454},
		"> CONT | 1 | eA==": {false, "", 454},
	} {
		auth := NewAuth(script(t, hello+ask+answer+"\nwait"), Options{})
		good, reason, err := auth.Check(context.Background(), "imap", "alice", "password 1", netip.MustParseAddr("192.0.2.1"))
		if good != want.good || reason != want.reason || (err == nil) != (want.code == 0) || err != nil && status.Of(err).Code != want.code {
			t.Errorf("%q: %v, %q, %v", answer, good, reason, err)
		}
		auth.Close()
	}
}

// TestMailRefusal holds that whatever a server puts there is a refusal, and
// that nothing but 550 is for ever.
func TestMailRefusal(t *testing.T) {
	for line, want := range map[string]int{"": 0, "450 4.2.1 suspended": 450, "550 5.2.1 no mail": 550, "250 2.0.0 fine": 450, "x": 450} {
		err := User{Fields: map[string]string{FieldMail: line}}.MailRefusal()
		if (err == nil) != (want == 0) || err != nil && status.Of(err).Code != want {
			t.Errorf("%q: %v", line, err)
		}
	}
}
