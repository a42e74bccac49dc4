package imapd

import (
	"errors"

	"peyk/internal/mailbox"
	"peyk/internal/mimescan"
)

// needs returns what is remembered of messages and wanted here. Fields of the
// header come from there too, unless the file is read for other sections.
func (r *request) needs() mailbox.Need {
	need := r.extra
	if r.Envelope {
		need |= mailbox.NeedEnvelope
	}
	if r.BodyStructure != nil {
		need |= mailbox.NeedStructure
	}
	if r.body {
		need |= mailbox.NeedBody
	}
	for i := range r.sections {
		if !r.sections[i].ofFields() {
			r.file = true
		}
	}
	switch {
	case r.file:
		need |= mailbox.NeedMessage
	case len(r.sections) > 0:
		need |= mailbox.NeedFields
	}
	return need
}

// ofFields reports whether a section is HEADER.FIELDS of the message itself.
func (sec *section) ofFields() bool { return len(sec.Part) == 0 && len(sec.HeaderFields) > 0 }

// wantsFile reports whether a message must be opened for its sections.
func (r *request) wantsFile(a *mailbox.Facts) bool {
	if len(r.sections) == 0 || r.file || a == nil {
		return r.file
	}
	for i := range r.sections {
		for _, name := range r.sections[i].HeaderFields {
			if !a.Knows(name) {
				return true
			}
		}
	}
	return false
}

// eachFetched calls do with each message and what is remembered of it, if
// anything is needed.
func (s *session) eachFetched(in indexes, r *request, do func(i int, a *mailbox.Facts, err error) error) error {
	each := func(do func(i int) error) error {
		return in.each(func(i int) error {
			if r.since && s.sel.view.At(i).ModSeq <= r.ChangedSince {
				return nil // RFC 7162 §3.1.4.1
			}
			return do(i)
		})
	}
	need := r.needs()
	if need == 0 {
		return each(func(i int) error { return do(i, nil, nil) })
	}
	uids := func(yield func(uint32) bool) {
		each(func(i int) error {
			if !yield(s.sel.view.At(i).UID) {
				return errStop
			}
			return nil
		})
	}
	return s.sel.folder.EachFacts(uids, need, func(uid uint32, a *mailbox.Facts, err error) error {
		i, _ := s.sel.view.Index(uid)
		return do(i, a, err)
	})
}

// errStop ends a walk whose caller wants no more.
var errStop = errors.New("stop")

// fetchFacts appends the items that are remembered.
func (s *session) fetchFacts(a *mailbox.Facts, r *request) {
	if r.Envelope {
		s.item("ENVELOPE ")
		s.out = append(s.out, a.Envelope...)
	}
	if r.body {
		s.item("BODY ")
		s.out = append(s.out, a.Body...)
	}
	if r.BodyStructure != nil {
		s.item("BODYSTRUCTURE ")
		s.out = append(s.out, a.Structure...)
	}
	if r.preview {
		s.item("PREVIEW ")
		s.appendPreview(a)
	}
	s.fetchIDs(a, r)
}

// appendPreview: NIL is a preview that is not to be had quickly, and an empty
// one is of a message without text (RFC 8970 §3.2).
func (s *session) appendPreview(a *mailbox.Facts) {
	if a.Have&mailbox.NeedPreview == 0 {
		s.out = append(s.out, "NIL"...)
		return
	}
	s.out = mimescan.AppendString(s.out, a.Preview)
}

// preview takes what may follow PREVIEW (RFC 8970 §6).
func (p *parser) preview(r *request) {
	r.preview = true
	r.extra |= mailbox.NeedPreview
	if p.eatWord(" (LAZY)") {
		r.extra |= mailbox.NeedQuick
	}
}

// fetchIDs: RFC 8474 §5.
func (s *session) fetchIDs(a *mailbox.Facts, r *request) {
	if r.emailID {
		s.item("EMAILID (")
		s.out = append(append(s.out, a.ID...), ')')
	}
	switch {
	case r.threadID && a.ThreadID == "":
		s.item("THREADID NIL")
	case r.threadID:
		s.item("THREADID (")
		s.out = append(append(s.out, a.ThreadID...), ')')
	}
}

// sendKnownFields appends a HEADER.FIELDS whose fields are all remembered.
func (s *session) sendKnownFields(fields []byte, sec *section) {
	s.item(sec.label)
	s.out = append(s.out, ' ')
	s.scratch = append(sec.pick(s.scratch[:0], fields), "\r\n"...)
	data := s.scratch
	if sec.Partial != nil {
		from, to := within(int64(len(data)), sec.Partial)
		data = data[from:to]
	}
	s.openLiteral(int64(len(data)))
	s.out = append(s.out, data...)
}

// pick appends the fields of a header that HEADER.FIELDS, or
// HEADER.FIELDS.NOT, asks for.
func (sec *section) pick(dst, header []byte) []byte {
	names, want := sec.HeaderFields, true
	if names == nil {
		names, want = sec.HeaderFieldsNot, false
	}
	mimescan.RawFields(header, func(name, field []byte) bool {
		if hasFold(names, name) == want {
			dst = append(dst, field...)
		}
		return true
	})
	return dst
}

// objectIDs notes the items of RFC 8474.
func (r *request) objectIDs(word string) {
	if word == "EMAILID" {
		r.emailID = true
		r.extra |= mailbox.NeedID
		return
	}
	r.threadID = true
	r.extra |= mailbox.NeedFields
}

// appendSaveDate: RFC 8514 §4.2.
func (s *session) appendSaveDate(uid uint32) error {
	t, err := s.sel.folder.SaveDate(uid)
	if err != nil {
		return stored(err)
	}
	s.item(`SAVEDATE "`)
	s.out = append(t.Local().AppendFormat(s.out, dateTime), '"')
	return nil
}

// dateTime: date-time of RFC 3501 §9.
const dateTime = "02-Jan-2006 15:04:05 -0700"
