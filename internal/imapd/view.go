package imapd

import (
	"errors"
	"slices"
	"sort"
	"strconv"

	"peyk/internal/eventlog"
	"peyk/internal/mailbox"
)

// selected is the selected mailbox as the client knows it.
type selected struct {
	folder   *mailbox.Folder
	name     string
	readOnly bool
	snap     *mailbox.Snapshot
	// view holds the messages that the client knows of, ascending by UID; a
	// sequence number is an index into it plus one. It may be the slice of a
	// snapshot, so it is never written to.
	view     []mailbox.Message
	keywords []string // names of the bits in view
	held     int      // messages of view that are gone, but not announced as expunged
	recent   []uint32 // UIDs that are \Recent in this session, ascending
}

// An announcement says how to tell the client what is new.
type announcement struct {
	expunge bool // EXPUNGE may be sent
	// quiet reports whether the client knows already that a message became
	// what it is now; nil knows of nothing.
	quiet func(was, is *mailbox.Message) bool
}

// announce compares the view with the newest snapshot and sends the
// differences: EXPUNGE, EXISTS and RECENT, FETCH.
func (s *session) announce(a announcement) error {
	sel := s.sel
	snap, err := sel.refresh(s)
	if err != nil {
		return s.lost(err)
	}
	if snap.Generation == sel.snap.Generation && (sel.held == 0 || !a.expunge) {
		return nil
	}
	if snap.UIDValidity != sel.snap.UIDValidity {
		s.bye("the mailbox was replaced by another one")
		return errLogout
	}
	sel.newKeywords(s, snap)
	m := merger{s: s, a: a, old: sel.view, now: snap.Messages}
	m.merge()
	sel.view, sel.held, sel.snap = m.result(), m.held, snap
	if m.added > 0 {
		s.exists()
	}
	m.sendFlags()
	return nil
}

func (sel *selected) refresh(s *session) (*mailbox.Snapshot, error) {
	if sel.readOnly {
		return sel.folder.RefreshReadOnly(s.ctx)
	}
	return sel.folder.Refresh(s.ctx)
}

// lost handles a folder that cannot be read any more.
func (s *session) lost(err error) error {
	if errors.Is(err, mailbox.ErrNoFolder) {
		s.bye("the mailbox is gone")
		return errLogout
	}
	s.log.Event(eventlog.Trouble, "reason", "cannot look for news", "folder", s.sel.name, "error", err)
	return nil
}

// newKeywords announces keywords that the client has not heard of.
func (sel *selected) newKeywords(s *session, snap *mailbox.Snapshot) {
	if slices.Equal(sel.keywords, snap.Keywords) {
		return
	}
	sel.keywords = snap.Keywords
	s.sendFlagNames()
}

// exists announces the size of the view.
func (s *session) exists() {
	s.untagged(strconv.Itoa(len(s.sel.view)), " EXISTS")
	s.untagged(strconv.Itoa(len(s.sel.recent)), " RECENT")
}

// merger walks over the view and a snapshot, both ascending by UID.
type merger struct {
	s        *session
	a        announcement
	old, now []mailbox.Message
	n        int               // messages of the new view so far
	out      []mailbox.Message // the new view, once it differs from now
	differs  bool
	held     int   // gone, but kept in out
	added    int   // new in the view
	changed  []int // indexes into the new view
}

func (m *merger) merge() {
	i, j := 0, 0
	for i < len(m.old) || j < len(m.now) {
		switch {
		case j == len(m.now) || i < len(m.old) && m.old[i].UID < m.now[j].UID:
			m.vanished(&m.old[i], j)
			i++
		case i == len(m.old):
			m.arrived(&m.now[j])
			j++
		case m.old[i].UID > m.now[j].UID:
			// A message with a UID below one that the client has seen: it has no
			// sequence number in this session.
			m.differ(j)
			j++
		default:
			m.stayed(&m.old[i], &m.now[j])
			i++
			j++
		}
	}
}

// differ makes out a slice of its own; up to now it was m.now[:j].
func (m *merger) differ(j int) {
	if !m.differs {
		m.differs = true
		m.out = append(make([]mailbox.Message, 0, len(m.now)+1), m.now[:j]...)
	}
}

func (m *merger) keep(msg *mailbox.Message) {
	m.n++
	if m.differs {
		m.out = append(m.out, *msg)
	}
}

func (m *merger) vanished(was *mailbox.Message, j int) {
	if !m.a.expunge {
		m.differ(j)
		m.held++
		m.keep(was)
		return
	}
	m.s.untagged(strconv.Itoa(m.n+1), " EXPUNGE")
	m.s.forget(was.UID)
}

func (m *merger) arrived(is *mailbox.Message) {
	m.added++
	if is.Recent {
		m.s.sel.recent = append(m.s.sel.recent, is.UID)
	}
	m.keep(is)
}

func (m *merger) stayed(was, is *mailbox.Message) {
	if (was.Flags != is.Flags || was.Keywords != is.Keywords) && (m.a.quiet == nil || !m.a.quiet(was, is)) {
		m.changed = append(m.changed, m.n)
	}
	m.keep(is)
}

// result is the new view: the snapshot's own slice where that is the same.
func (m *merger) result() []mailbox.Message {
	if m.differs {
		return m.out
	}
	return m.now
}

func (m *merger) sendFlags() {
	for _, i := range m.changed {
		m.s.sendFlags(i)
	}
}

// sendFlags sends the flags of the message at index i.
func (s *session) sendFlags(i int) {
	msg := &s.sel.view[i]
	s.out = append(s.out, "* "...)
	s.out = appendUint(s.out, uint32(i+1))
	s.out = append(s.out, " FETCH (UID "...)
	s.out = appendUint(s.out, msg.UID)
	s.out = append(s.out, " FLAGS "...)
	s.out = s.sel.appendFlags(s.out, msg)
	s.out = append(s.out, ")\r\n"...)
}

func (s *session) forget(uid uint32) {
	r := s.sel.recent
	if i, ok := slices.BinarySearch(r, uid); ok {
		s.sel.recent = slices.Delete(r, i, i+1)
	}
}

func (sel *selected) isRecent(uid uint32) bool {
	n := len(sel.recent)
	i := sort.Search(n, func(i int) bool { return sel.recent[i] >= uid })
	return i < n && sel.recent[i] == uid
}

func appendUint(dst []byte, n uint32) []byte { return strconv.AppendUint(dst, uint64(n), 10) }
