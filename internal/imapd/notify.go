package imapd

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// NOTIFY: RFC 5465. This file has the command; what it starts is in
// watches.go.

// events is a set of the events of RFC 5465 §5.
type events uint8

const (
	messageNew events = 1 << iota
	messageExpunge
	flagChange
	mailboxName
	subscriptionChange
	mailboxMetadata
	serverMetadata

	messageEvents = messageNew | messageExpunge | flagChange
)

// codeBadEvent lists the events that we know (RFC 5465 §3.1).
const codeBadEvent imap.ResponseCode = "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)"

// codeOverflow: RFC 5465 §5.8.
const codeOverflow imap.ResponseCode = "NOTIFICATIONOVERFLOW"

// Limits of one NOTIFY.
const (
	maxGroups  = 100
	maxNamed   = 1000 // mailbox names
	maxWatches = 500  // mailboxes whose messages are watched
)

// An eventGroup says what a client wants to hear about some mailboxes.
type eventGroup struct {
	filter string // in upper case
	names  []string
	events events
	items  *request // what it wants to know of new messages
}

// selects reports whether the group is about the selected mailbox.
func (g *eventGroup) selects() bool {
	return g.filter == "SELECTED" || g.filter == "SELECTED-DELAYED"
}

// covers reports whether the group is about a mailbox that is not selected.
func (g *eventGroup) covers(m *listed) bool {
	switch g.filter {
	case "PERSONAL", "INBOXES": // RFC 5465 §6.3: mail may be delivered to each
		return m.place.owner == ""
	case "SUBSCRIBED":
		return m.subscribed
	case "MAILBOXES":
		return slices.Contains(g.names, m.Name)
	case "SUBTREE":
		return slices.ContainsFunc(g.names, func(top string) bool { return m.Name == top || strings.HasPrefix(m.Name, top+m.sep()) })
	}
	return false
}

// notifying is a parsed NOTIFY.
type notifying struct {
	groups []eventGroup
	status bool
	named  int
}

// notify: RFC 5465 §3.1.
func (s *session) notify(p *parser) (reply, error) {
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	word, err := p.word()
	if err != nil {
		return reply{}, err
	}
	n := &notifying{}
	switch word {
	case "NONE":
		err = p.end()
	case "SET":
		err = p.notifySet(n)
	default:
		err = p.fail("expected SET or NONE")
	}
	if err != nil {
		return reply{}, err
	}
	w, err := s.watch(n)
	if err != nil {
		return reply{}, err
	}
	s.stopWatches()
	s.watches = w
	if !n.status {
		return reply{}, nil
	}
	return reply{}, w.sendAll()
}

// notifySet takes [STATUS] and groups.
func (p *parser) notifySet(n *notifying) error {
	n.status = p.eatWord(" STATUS")
	for {
		if err := p.sp(); err != nil {
			return err
		}
		if len(n.groups) == maxGroups {
			return no(codeOverflow, "cannot take more than %d groups", maxGroups)
		}
		if err := p.eventGroup(n); err != nil {
			return err
		}
		if p.done() {
			return p.end()
		}
	}
}

// eventGroup takes "(" filter-mailboxes SP events ")".
func (p *parser) eventGroup(n *notifying) error {
	var g eventGroup
	err := p.expect('(')
	if err == nil {
		err = p.filterMailboxes(n, &g)
	}
	if err == nil {
		err = p.sp()
	}
	if err == nil {
		err = p.events(&g)
	}
	if err == nil {
		err = p.expect(')')
	}
	if err != nil {
		return err
	}
	if g.selects() && slices.ContainsFunc(n.groups, func(other eventGroup) bool { return other.selects() }) {
		return bad("only one of SELECTED and SELECTED-DELAYED, once") // RFC 5465 §6.1
	}
	n.groups = append(n.groups, g)
	return g.check()
}

// check: RFC 5465 §5, §6.1.
func (g *eventGroup) check() error {
	m := g.events & messageEvents
	switch {
	case m != 0 && m&(messageNew|messageExpunge) != messageNew|messageExpunge:
		return bad("MessageNew and MessageExpunge go together, and FlagChange with them")
	case g.selects() && g.events != m:
		return bad("the selected mailbox has events of messages only")
	case !g.selects() && g.items != nil:
		return bad("what to fetch can be said for the selected mailbox only")
	}
	return nil
}

func (p *parser) filterMailboxes(n *notifying, g *eventGroup) error {
	word, err := p.word()
	g.filter = word
	switch {
	case err != nil:
		return err
	case word == "SUBTREE" || word == "MAILBOXES":
		if err := p.sp(); err != nil {
			return err
		}
		return p.someMailboxes(n, g)
	case g.selects() || word == "PERSONAL" || word == "INBOXES" || word == "SUBSCRIBED":
		return nil
	}
	return p.fail("unknown kind of mailboxes")
}

// someMailboxes takes one name, or several in parentheses.
func (p *parser) someMailboxes(n *notifying, g *eventGroup) error {
	if p.peek() != '(' {
		return p.oneMailbox(n, g)
	}
	if err := p.list(func() error { return p.oneMailbox(n, g) }); err != nil {
		return err
	}
	if len(g.names) == 0 {
		return p.fail("expected a mailbox name")
	}
	return nil
}

func (p *parser) oneMailbox(n *notifying, g *eventGroup) error {
	if n.named++; n.named > maxNamed {
		return no(codeOverflow, "cannot take more than %d names", maxNamed)
	}
	raw, err := p.astring()
	if err != nil {
		return err
	}
	// A name that no mailbox can have is one that does not exist.
	if name, err := p.s.on.decodeName(raw); err == nil {
		g.names = append(g.names, name)
	} else {
		g.names = append(g.names, "")
	}
	return nil
}

// events takes a list of events, or NONE.
func (p *parser) events(g *eventGroup) error {
	if p.peek() != '(' {
		// The RFC's first example has no parentheses around the events.
		if p.eatWord("NONE") {
			return nil
		}
		return p.bareEvents(g)
	}
	n := 0
	err := p.list(func() error {
		n++
		return p.event(g)
	})
	if err == nil && n == 0 {
		return p.fail("expected an event")
	}
	return err
}

func (p *parser) bareEvents(g *eventGroup) error {
	for {
		if err := p.event(g); err != nil {
			return err
		}
		if !p.eat(' ') {
			return nil
		}
	}
}

func (p *parser) event(g *eventGroup) error {
	word, err := p.word()
	if err != nil {
		return err
	}
	e := eventOf(word)
	if e == 0 {
		return no(codeBadEvent, "cannot tell of this kind of event")
	}
	g.events |= e
	if e != messageNew || !strings.HasPrefix(string(p.line[p.pos:]), " (") {
		return nil
	}
	p.pos++
	g.items = &request{}
	if err := p.list(func() error { return p.fetchItem(g.items, false) }); err != nil {
		return err
	}
	g.items.seen = false // RFC 5465 §5.2: nobody has read the message
	return nil
}

func eventOf(word string) events {
	switch word {
	case "MESSAGENEW":
		return messageNew
	case "MESSAGEEXPUNGE":
		return messageExpunge
	case "FLAGCHANGE":
		return flagChange
	case "MAILBOXNAME":
		return mailboxName
	case "SUBSCRIPTIONCHANGE":
		return subscriptionChange
	case "MAILBOXMETADATACHANGE":
		return mailboxMetadata
	case "SERVERMETADATACHANGE":
		return serverMetadata
	}
	return 0
}
