package imapd

import (
	"bytes"
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// A command is one row of the table of commands.
type command struct {
	in  states
	run func(*session, *parser) (reply, error)
	// fixed: sequence numbers must not change before the command is over, so
	// no EXPUNGE may be sent (RFC 3501 §7.4.1).
	fixed bool
}

// states is a set of connection states (RFC 3501 §3).
type states uint8

const (
	before   states = 1 << iota // not authenticated
	after                       // authenticated, nothing selected
	inside                      // a mailbox is selected
	anytime  = before | after | inside
	loggedIn = after | inside
)

// find returns the command of a name in upper case.
func find(name string) (command, bool) {
	switch name {
	case "CAPABILITY":
		return command{in: anytime, run: (*session).capability}, true
	case "NOOP", "CHECK":
		in := anytime
		if name == "CHECK" {
			in = inside
		}
		return command{in: in, run: (*session).noop}, true
	case "LOGOUT":
		return command{in: anytime, run: (*session).logout}, true
	case "ID":
		return command{in: anytime, run: (*session).identify}, true
	case "STARTTLS":
		return command{in: before, run: (*session).startTLS}, true
	case "LOGIN":
		return command{in: before, run: (*session).login}, true
	case "AUTHENTICATE":
		return command{in: before, run: (*session).authenticate}, true
	}
	if c, ok := findMailbox(name); ok {
		return c, true
	}
	return findMessage(name)
}

// findMailbox knows the commands about mailboxes.
func findMailbox(name string) (command, bool) {
	c := command{in: loggedIn}
	switch name {
	case "ENABLE":
		c.run = (*session).enable
	case "SELECT":
		c.run = (*session).selectMailbox
	case "EXAMINE":
		c.run = (*session).examineMailbox
	case "CREATE":
		c.run = (*session).create
	case "DELETE":
		c.run = (*session).delete
	case "RENAME":
		c.run = (*session).rename
	case "SUBSCRIBE":
		c.run = (*session).subscribe
	case "UNSUBSCRIBE":
		c.run = (*session).unsubscribe
	case "LIST":
		c.run = (*session).list
	case "LSUB":
		c.run = (*session).lsub
	case "STATUS":
		c.run = (*session).status
	case "ESEARCH":
		c.run = (*session).multiSearch
	case "NAMESPACE":
		c.run = (*session).namespace
	case "APPEND":
		c.run = (*session).append
	case "COMPRESS":
		c.run = (*session).compress
	case "UNAUTHENTICATE":
		c.run = (*session).unauthenticate
	case "IDLE":
		c.run = (*session).idle
	case "NOTIFY":
		c.run = (*session).notify
	}
	if c.run == nil {
		return findAccess(name)
	}
	return c, true
}

// findAccess knows the commands about rights and limits.
func findAccess(name string) (command, bool) {
	c := command{in: loggedIn}
	switch name {
	case "GETACL":
		c.run = (*session).getACL
	case "SETACL":
		c.run = (*session).setACL
	case "DELETEACL":
		c.run = (*session).deleteACL
	case "LISTRIGHTS":
		c.run = (*session).listRights
	case "MYRIGHTS":
		c.run = (*session).myRights
	case "GETQUOTA":
		c.run = (*session).getQuota
	case "GETQUOTAROOT":
		c.run = (*session).getQuotaRoot
	case "SETQUOTA":
		c.run = (*session).setQuota
	case "GETMETADATA":
		c.run = (*session).getMetadata
	case "SETMETADATA":
		c.run = (*session).setMetadata
	}
	return c, c.run != nil
}

// findMessage knows the commands about messages of the selected mailbox.
func findMessage(name string) (command, bool) {
	c := command{in: inside}
	switch name {
	case "CLOSE":
		c.run = (*session).closeMailbox
	case "UNSELECT":
		c.run = (*session).unselect
	case "EXPUNGE":
		c.run = (*session).expunge
	case "UID EXPUNGE":
		c.run = (*session).uidExpunge
	case "SEARCH", "UID SEARCH":
		c.run = (*session).search
	case "CANCELUPDATE":
		c.run = (*session).cancelUpdate
	case "SORT", "UID SORT":
		c.run = (*session).sort
	case "THREAD", "UID THREAD":
		c.run = (*session).thread
	case "FETCH", "UID FETCH":
		c.run = (*session).fetch
	case "STORE", "UID STORE":
		c.run = (*session).store
	case "REPLACE", "UID REPLACE":
		c.run = (*session).replace
	case "COPY", "UID COPY":
		c.run = (*session).copy
	case "MOVE", "UID MOVE":
		c.run = (*session).move
	}
	c.fixed = name == "FETCH" || name == "STORE" || name == "SEARCH" || name == "SORT" || name == "THREAD"
	return c, c.run != nil
}

// dispatch reads the tag and the name, and runs the command.
func (s *session) dispatch(p *parser) (reply, error) {
	if err := p.readTag(); err != nil {
		return reply{}, err
	}
	if p.long {
		return reply{}, p.fail("the line is longer than %d octets", s.lineLimit())
	}
	name, err := p.commandName()
	if err != nil {
		return reply{}, err
	}
	c, ok := find(name)
	if !ok {
		return reply{}, p.fail("unknown command")
	}
	if err := s.mayNow(c.in); err != nil {
		return reply{}, err
	}
	if err := s.permits(name); err != nil {
		return reply{}, err
	}
	if c.in == inside && !leaves(name) {
		if err := s.need(mailbox.RightRead); err != nil {
			return reply{}, err
		}
	}
	if s.on.has(uidOnly) && hasNumbers(name) {
		return reply{}, errUIDRequired
	}
	p.uid = strings.HasPrefix(name, "UID ")
	s.doing.begin(s, p.tag)
	r, err := c.run(s, p)
	if news := s.news(err, !c.fixed && !p.numbered); news != nil {
		return r, news
	}
	return r, err
}

// readTag takes the tag. A line without one is answered untagged.
func (p *parser) readTag() error {
	tag := p.run(isTagChar)
	if len(tag) == 0 {
		return p.fail("expected a tag")
	}
	if p.peek() != ' ' {
		p.tag = keepTag(tag)
		return p.fail("expected a space after the tag")
	}
	p.tag = keepTag(tag)
	p.pos++
	return nil
}

// keepTag bounds what is sent back.
func keepTag(tag []byte) string { return string(bytes.Clone(tag[:min(len(tag), tailKept)])) }

func (p *parser) commandName() (string, error) {
	name, err := p.word()
	if err != nil {
		return "", p.fail("expected a command")
	}
	if name != "UID" {
		return name, nil
	}
	if err := p.sp(); err != nil {
		return "", err
	}
	what, err := p.word()
	return "UID " + what, err
}

func (s *session) mayNow(in states) error {
	now := before
	switch s.state {
	case imap.ConnStateAuthenticated:
		now = after
	case imap.ConnStateSelected:
		now = inside
	}
	switch {
	case in&now != 0:
		return nil
	case in == before:
		return bad("you are logged in already")
	case now == before:
		return bad("please log in first")
	}
	return bad("please select a mailbox first")
}

// news tells the client what happened to the selected mailbox. It is not the
// time for it when the command was not understood or the connection failed.
func (s *session) news(err error, expunge bool) error {
	if err != nil && !isRefusal(err) {
		return nil
	}
	if s.sel != nil {
		if err := s.announce(announcement{expunge: expunge}); err != nil {
			return err
		}
	}
	if s.watches != nil {
		return s.watches.tell()
	}
	return nil
}

// isRefusal reports whether err is answered with NO.
func isRefusal(err error) bool {
	var wire *imap.Error
	var st *status.Error
	return errors.As(err, &wire) && wire.Type == imap.StatusResponseTypeNo || errors.As(err, &st) || isStoreError(err)
}
