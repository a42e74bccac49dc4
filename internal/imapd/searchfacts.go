package imapd

import (
	"peyk/internal/mailbox"
)

// factKey knows the keys of RFC 8474 §6, and SAVEDATESUPPORTED (RFC 8514
// §4.3), which every mailbox is.
func (p *parser) factKey(_ *query, word string) (*key, error) {
	k := &key{}
	switch word {
	case "SAVEDATESUPPORTED":
		return &key{op: keyAll}, nil
	case "EMAILID":
		k.op = keyEmailID
	case "THREADID":
		k.op = keyThreadID
	default:
		return nil, nil
	}
	if err := p.sp(); err != nil {
		return nil, err
	}
	id, err := p.atom()
	if err != nil || len(id) > 255 {
		return nil, p.fail("expected an id")
	}
	k.text = id
	return k, nil
}

// idTest compares ids, which have two cases (RFC 8474 §3).
func (m *matcher) idTest(k *key) test {
	need := mailbox.NeedID
	if k.op == keyThreadID {
		need = mailbox.NeedFields
	}
	m.inHead = true
	m.need |= need
	return func(_ int, msg *mailbox.Message) bool {
		a := m.open.facts
		if a == nil || a.Have&need == 0 { // not read ahead
			var err error
			if a, err = m.sel.folder.Facts(msg.UID, need); err != nil {
				m.fail(stored(err))
				return false
			}
		}
		if k.op == keyThreadID {
			return a.ThreadID == k.text
		}
		return a.ID == k.text
	}
}

// savedTest compares the day on which a message came into the mailbox.
func (m *matcher) savedTest(k *key) test {
	at := dayStart(k.day)
	return func(_ int, msg *mailbox.Message) bool {
		t, err := m.sel.folder.SaveDate(msg.UID)
		if err != nil {
			m.fail(stored(err))
			return false
		}
		return (t.Unix() >= at) == (k.op == keySavedSince)
	}
}
