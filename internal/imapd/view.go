package imapd

import (
	"cmp"
	"errors"
	"slices"
	"sort"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/eventlog"
	"peyk/internal/mailbox"
)

// selected is the selected mailbox as the client knows it.
type selected struct {
	folder   *mailbox.Folder
	name     string
	readOnly bool
	rights   mailbox.Rights // as PERMANENTFLAGS told them
	snap     *mailbox.Snapshot
	// view holds the messages that the client knows of; a sequence number is
	// an index into it plus one.
	view     mailbox.List
	keywords []string // names of the bits in view
	// behind: the view is not what snap has, since messages that are gone are
	// held in it, or others are left out, by the announcement that was last made.
	behind bool
	last   announcement
	synced uint64      // the client knows of all that happened up to this mod-sequence
	recent []uint32    // UIDs that are \Recent in this session, ascending
	own    []uint32    // UIDs that this session put here, not announced yet
	saved  imap.SeqSet // UIDs that "$" stands for

	contexts []*searchContext
}

// An announcement says how to tell the client what is new.
type announcement struct {
	expunge bool // EXPUNGE may be sent
	// quiet reports whether the client knows already that a message became
	// what it is now; nil knows of nothing.
	quiet func(was, is *mailbox.Message) bool
	hears events // what the client wants to hear of the selected mailbox
}

// announce compares the view with the newest snapshot and sends the
// differences: EXPUNGE, EXISTS and RECENT, FETCH.
func (s *session) announce(a announcement) error {
	sel := s.sel
	a.hears = s.hears()
	a.expunge = a.expunge && (a.hears&messageExpunge != 0 || s.removed)
	snap, err := sel.refresh(s)
	if err != nil {
		return s.lost(err)
	}
	if rights, err := s.rightsIn(sel.folder); err != nil || !rights.Has(mailbox.RightRead) {
		return nil // what happens here is not for this user any more
	} else if rights != sel.rights {
		sel.rights = rights
		s.sendFlagNames() // RFC 4314 §5.1.1
	}
	if snap.Generation == sel.snap.Generation && (!sel.behind || sel.last.expunge == a.expunge && sel.last.hears == a.hears) {
		return nil
	}
	if snap.UIDValidity != sel.snap.UIDValidity {
		s.bye("the mailbox was replaced by another one")
		return errLogout
	}
	sel.newKeywords(s, snap)
	m := merger{s: s, a: a, old: sel.view, now: snap.Messages}
	if a.expunge {
		s.removeGone(snap.Messages)
	}
	m.merge()
	if err := cmp.Or(m.failed, s.sendVanished(m.gone)); err != nil {
		return err
	}
	sel.view, sel.snap, sel.behind, sel.last = m.result(), snap, m.differs, a
	if !m.differs {
		sel.synced = snap.HighestModSeq
	}
	if m.added > 0 {
		s.exists()
	}
	if err := m.sendFlags(); err != nil {
		return err
	}
	s.updateContexts(m.old)
	return s.sendNew(m.added) // RFC 5465 §5.2: after ESEARCH
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
	s.untagged(strconv.Itoa(s.sel.view.Len()), " EXISTS")
	if !s.on.has(rev2) {
		s.untagged(strconv.Itoa(len(s.sel.recent)), " RECENT")
	}
}

// merger walks over the differences of the view and a snapshot.
type merger struct {
	s        *session
	a        announcement
	old, now mailbox.List
	differs  bool     // the new view is not now
	silent   bool     // the client did not want to hear of something
	held     int      // gone, but kept in out
	added    int      // new in the view
	dropped  int      // announced as expunged
	gone     []uint32 // of these, for VANISHED
	changed  []int    // indexes into the new view
	failed   error    // of the connection
}

func (m *merger) merge() {
	last := uint32(0)
	if n := m.old.Len(); n > 0 {
		last = m.old.At(n - 1).UID
	}
	late := 0 // messages of now without a sequence number in this session
	mailbox.Diff(m.old, m.now, func(i, j int) {
		switch {
		case j < 0:
			m.vanished(i)
		case i >= 0:
			m.stayed(i, j)
		case m.now.At(j).UID < last || m.a.hears&messageNew == 0:
			late++ // a UID below one that the client has seen, or one not wanted
		default:
			m.arrived(m.now.At(j))
		}
	})
	m.differs = m.held > 0 || late > 0 || m.silent
}

func (m *merger) vanished(i int) {
	if !m.a.expunge {
		m.held++
		return
	}
	if m.s.on.has(qresync | uidOnly) {
		m.gone = append(m.gone, m.old.At(i).UID)
	} else {
		m.s.untagged(strconv.Itoa(i-m.dropped+1), " EXPUNGE")
		m.failed = cmp.Or(m.failed, m.s.relieve())
	}
	m.s.forget(m.old.At(i).UID)
	m.dropped++
}

func (m *merger) arrived(is *mailbox.Message) {
	m.added++
	if is.Recent && !m.s.on.has(rev2) {
		m.s.sel.recent = append(m.s.sel.recent, is.UID)
	}
}

func (m *merger) stayed(i, j int) {
	was, is := m.old.At(i), m.now.At(j)
	differs := was.Flags != is.Flags || was.Keywords != is.Keywords || m.s.on.has(condstore) && was.ModSeq != is.ModSeq
	if differs && m.a.hears&flagChange == 0 && m.a.quiet == nil {
		m.silent = true
		return
	}
	if differs && (m.a.quiet == nil || !m.a.quiet(was, is)) {
		m.changed = append(m.changed, i-m.dropped)
	}
}

// result is the new view: the snapshot's own list, unless messages that are
// gone are held, or such are left out as would come before known ones.
func (m *merger) result() mailbox.List {
	if !m.differs {
		return m.now
	}
	last := uint32(0)
	if n := m.old.Len(); n > 0 {
		last = m.old.At(n - 1).UID
	}
	out := make([]mailbox.Message, 0, m.old.Len()+m.added)
	for _, was := range m.old.All() {
		if is, ok := m.now.Index(was.UID); ok {
			out = append(out, *m.now.At(is))
		} else if !m.a.expunge {
			out = append(out, *was)
		}
	}
	if m.a.hears&messageNew == 0 {
		return mailbox.ListOf(out)
	}
	for _, is := range m.now.From(m.now.Search(last + 1)) {
		out = append(out, *is)
	}
	return mailbox.ListOf(out)
}

func (m *merger) sendFlags() error {
	for _, i := range m.changed {
		m.s.sendFlags(i)
		if err := m.s.relieve(); err != nil {
			return err
		}
	}
	return nil
}

// beginFetch begins the answer for the message at index i.
func (s *session) beginFetch(i int) {
	s.out = append(s.out, "* "...)
	if s.on.has(uidOnly) {
		s.out = appendUint(s.out, s.sel.view.At(i).UID)
		s.out = append(s.out, " UIDFETCH ("...) // RFC 9586 §3.2
		return
	}
	s.out = appendUint(s.out, uint32(i+1))
	s.out = append(s.out, " FETCH ("...)
}

// beginNews is beginFetch for an answer that was not asked for; it has the
// UID.
func (s *session) beginNews(i int) {
	s.beginFetch(i)
	if s.on.has(uidOnly) {
		return
	}
	s.out = append(s.out, "UID "...)
	s.out = append(appendUint(s.out, s.sel.view.At(i).UID), ' ')
}

// sendFlags sends the flags of the message at index i, with what a client
// that knows mod-sequences must be told beside them (RFC 7162 §3.2.4).
func (s *session) sendFlags(i int) {
	msg := s.sel.view.At(i)
	s.beginNews(i)
	s.out = append(s.out, "FLAGS "...)
	s.out = s.sel.appendFlags(s.out, msg)
	if s.on.has(condstore) {
		s.out = append(s.out, ' ')
		s.appendModSeq(msg)
	}
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
