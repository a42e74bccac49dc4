package dovecotauth

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
)

// changing offers what it is told to, and lets a login wait.
type changing struct {
	names atomic.Pointer[string]
	begun chan struct{}
	end   chan struct{}
}

func (c *changing) Mechanisms() (offer []Mechanism) {
	for _, name := range strings.Fields(*c.names.Load()) {
		offer = append(offer, Mechanism{Name: name})
	}
	return offer
}

func (c *changing) Authenticate(context.Context, *Request) Verdict {
	close(c.begun)
	<-c.end
	return Verdict{OK: true, User: "alice"}
}

func TestClientsLearnOfOtherMechanisms(t *testing.T) {
	c := &changing{begun: make(chan struct{}), end: make(chan struct{})}
	say := func(names string) { c.names.Store(&names) }
	say("X-ONE")
	s := &Server{Auth: c, Directory: &fake{}}
	socket, _ := serve(t, s)
	a := NewAuth(socket, Options{})
	defer a.Close()
	offer := func() string { return strings.Join(a.Offer(t.Context(), AuthInfo{}), " ") }
	if got := offer(); got != "X-ONE" {
		t.Fatal(got)
	}
	result := make(chan error, 1)
	go func() {
		_, err := a.Authenticate(context.Background(), "imap", "X-ONE", nil, AuthInfo{})
		result <- err
	}()
	<-c.begun
	say("X-TWO")
	s.Renew()
	if got := offer(); got != "X-ONE" {
		t.Errorf("a connection with a login under way was ended: %s", got)
	}
	link := a.mux.link
	close(c.end)
	if err := <-result; err != nil {
		t.Errorf("the login under way: %v", err)
	}
	<-link.down
	if got := offer(); got != "X-TWO" {
		t.Errorf("after it: %s", got)
	}
}
