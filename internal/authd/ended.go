package authd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"peyk/internal/address"
	"peyk/internal/dovecotauth"
	"peyk/internal/table"
)

// sessionOver is the end of a login whose password is another one now.
const sessionOver refusal = "credentials-changed"

// Kinds of tickets: by what somebody came in.
const (
	byPasswordTicket = "password"
	byAppTicket      = "app"
	byOtherTicket    = "other" // a certificate, or a token of an identity provider
)

// ticket says by what the login was proved, so that check can tell later
// whether that still holds, also after a restart.
func (a *attempt) ticket() string {
	switch {
	case a.app != nil:
		return byAppTicket + " " + a.app.ID + " " + mark(a.app.Hash)
	case a.strong:
		return byOtherTicket
	}
	return byPasswordTicket + " " + mark(a.stored)
}

// mark tells one stored hash from another, and nothing about either: hashes
// are salted.
func mark(hash string) string {
	sum := sha256.Sum256([]byte("peyk ticket\x00" + hash))
	return hex.EncodeToString(sum[:8])
}

// settleTime is how long a table gets that an editor writes in place: for a
// moment it is empty or half, and nobody's session shall end by that.
const settleTime = 150 * time.Millisecond

// check answers whether a login of earlier is still good. No log tells of it:
// the server that asked logs the end of its session.
func (s *Server) check(ctx context.Context, r *dovecotauth.Request) dovecotauth.Verdict {
	user, ticket, _ := strings.Cut(string(r.Initial), "\x00")
	look := func() error {
		a := s.begin(r.Service, r.RemoteIP, nil)
		a.obeys = r.Obeys
		return a.stillGood(ctx, user, ticket)
	}
	var no refusal
	err := look()
	if errors.As(err, &no) && s.options.Sleep(ctx, settleTime) == nil {
		err = look()
	}
	switch {
	case err == nil:
		return dovecotauth.Verdict{OK: true, User: user}
	case errors.As(err, &no):
		return dovecotauth.Verdict{User: user, Code: dovecotauth.CodeEnded, Reason: string(no)}
	}
	return dovecotauth.Verdict{User: user, Temp: true, Reason: "cannot check logins now"}
}

// stillGood looks at everything that a login is looked at for, except the
// password itself.
func (a *attempt) stillGood(ctx context.Context, user, ticket string) error {
	addr, err := address.Parse(user, true)
	if err != nil {
		return malformed
	}
	a.user = addr
	account, found, err := a.server.accounts.account(ctx, addr)
	if err != nil {
		return err
	}
	if !found {
		return unknownUser
	}
	if err := a.recognise(account, strings.Fields(ticket)); err != nil {
		return err
	}
	if err := restrictions(account.Fields, a.ip); err != nil {
		return err
	}
	return a.admit(ctx)
}

// recognise finds what a ticket was given for.
func (a *attempt) recognise(account table.User, ticket []string) error {
	switch {
	case len(ticket) == 1 && ticket[0] == byOtherTicket:
		a.strong = true
		return nil
	case len(ticket) == 2 && ticket[0] == byPasswordTicket:
		if ticket[1] != mark(account.Password) && !a.server.renewed.same(ticket[1], mark(account.Password)) {
			return sessionOver
		}
		return nil
	case len(ticket) == 3 && ticket[0] == byAppTicket:
		return a.recogniseApp(ticket[1], ticket[2])
	}
	return malformed
}

func (a *attempt) recogniseApp(id, hash string) error {
	apps, err := a.server.tables.AppPasswords(a.user)
	if err != nil {
		return err
	}
	for _, p := range apps {
		if p.ID == id && mark(p.Hash) == hash {
			a.app = &p
			return nil
		}
	}
	return sessionOver
}

// follow tells a server which domains change, until its connection ends.
func (s *Server) follow(ctx context.Context, r *dovecotauth.Request) dovecotauth.Verdict {
	f := s.changes.join()
	defer s.changes.leave(f)
	f.add("")
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return dovecotauth.Verdict{Temp: true}
		}
		for _, domain := range f.take() {
			if _, err := r.Challenge(ctx, []byte(domain)); err != nil {
				return dovecotauth.Verdict{Temp: true}
			}
		}
	}
}

// changes tells followers which domains have changed.
type changes struct {
	mu        sync.Mutex
	followers map[*follower]bool
}

// follower is somebody who wants to know. What changes again before it was
// told is told once.
type follower struct {
	wake chan struct{}

	mu      sync.Mutex
	domains map[string]bool // "" is all of them
}

func (c *changes) join() *follower {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &follower{wake: make(chan struct{}, 1), domains: make(map[string]bool)}
	if c.followers == nil {
		c.followers = make(map[*follower]bool)
	}
	c.followers[f] = true
	return f
}

func (c *changes) leave(f *follower) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.followers, f)
}

// tell says that the accounts of a domain may have changed, "" for all.
func (c *changes) tell(domain string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f := range c.followers {
		f.add(domain)
	}
}

// maxChanged is how many domains are told apart.
const maxChanged = 1000

func (f *follower) add(domain string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.domains) >= maxChanged {
		domain = ""
	}
	f.domains[domain] = true
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take returns what changed since the last call.
func (f *follower) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.domains[""] {
		clear(f.domains)
		return []string{""}
	}
	list := slices.Sorted(maps.Keys(f.domains))
	clear(f.domains)
	return list
}

// renewed remembers the hashes that authd itself has written anew for an
// unchanged password: that ends no session.
type renewed struct {
	mu    sync.Mutex
	marks map[string]string // old to new
}

// maxRenewed is how many are remembered; beyond that sessions end, and their
// clients log in again.
const maxRenewed = 10000

// note says that the second hash stands for the password of the first.
func (r *renewed) note(before, after string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.marks == nil || len(r.marks) >= maxRenewed {
		r.marks = make(map[string]string)
	}
	r.marks[mark(before)] = mark(after)
}

func (r *renewed) same(before, after string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range 3 { // a hash is hardly renewed more often while a session lasts
		next, ok := r.marks[before]
		if !ok || next == after {
			return ok
		}
		before = next
	}
	return false
}
