package mailbox

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// A change is one record of the log of changes.
type change struct {
	kind changeKind
	m    Message // what the kind says of it
	path string  // where the file is, when it is odd
	at   stamps
}

type changeKind byte

const (
	setFlags   changeKind = 'F' // ModSeq, UID, Flags, Keywords, where, path
	added      changeKind = 'A' // all of a message
	expunged   changeKind = 'X' // ModSeq, UID
	highest    changeKind = 'H' // ModSeq: it is the highest now
	setDates   changeKind = 'D' // UID, date, saved
	sawFolder  changeKind = 'S' // the folder was as all before this says when it had these stamps
	sawFolder2 changeKind = 'C' // the same; all but the times is as in the last S
)

// stamps tell one state of a folder's files from another.
type stamps struct {
	ids      uidState
	idsMtime int64
	new, cur stamp
	newOK    bool
	curOK    trust
}

// trust tells how well a stamp of cur/ is known.
type trust byte

const (
	untrusted  trust = iota
	trusted          // any change since would show
	ownChanges       // it was made by a change of our own
)

// A record is its length in two octets, what it says, and a checksum.
const maxChange = 1 << 12

func (c *change) append(b []byte) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = append(b, 0, 0, byte(c.kind))
	switch c.kind {
	case setFlags:
		b = c.appendFlags(b)
	case added:
		b = c.appendFlags(b)
		b = appendString(b, c.m.Base)
		b = le.AppendUint64(le.AppendUint64(b, uint64(c.m.Size)), uint64(c.m.FileSize))
		b = le.AppendUint32(le.AppendUint32(b, c.m.date), c.m.saved)
	case expunged:
		b = le.AppendUint32(le.AppendUint64(b, c.m.ModSeq), c.m.UID)
	case highest:
		b = le.AppendUint64(b, c.m.ModSeq)
	case setDates:
		b = le.AppendUint32(le.AppendUint32(le.AppendUint32(b, c.m.UID), c.m.date), c.m.saved)
	case sawFolder:
		b = c.at.append(b)
	case sawFolder2:
		b = append(le.AppendUint64(b, uint64(c.at.new.mtime)), flag(c.at.newOK))
		b = append(le.AppendUint64(b, uint64(c.at.cur.mtime)), byte(c.at.curOK))
	}
	if len(b)-start > maxChange {
		return b[:start]
	}
	le.PutUint16(b[start:], uint16(len(b)-start-2))
	return le.AppendUint32(b, crc32.Checksum(b[start:], castagnoli()))
}

func flag(ok bool) byte {
	if ok {
		return 1
	}
	return 0
}

func (c *change) appendFlags(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(le.AppendUint64(b, c.m.ModSeq), c.m.UID)
	b = le.AppendUint64(append(b, byte(c.m.Flags)), c.m.Keywords)
	return appendString(append(b, byte(c.m.where)), c.path)
}

func (s *stamps) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, s.ids.header.validity)
	b = le.AppendUint32(b, s.ids.header.next)
	b = appendString(b, s.ids.header.guid)
	b = appendString(b, s.ids.header.rest)
	for _, n := range []uint64{s.ids.dev, s.ids.ino, uint64(s.ids.size), uint64(s.ids.lines), uint64(s.idsMtime)} {
		b = le.AppendUint64(b, n)
	}
	b = append(appendStamp(b, s.new), flag(s.newOK))
	return append(appendStamp(b, s.cur), byte(s.curOK))
}

// decodeChanges reads records up to the first that is torn or makes no sense,
// and returns how many octets it has used.
func decodeChanges(raw []byte) (changes []change, used int) {
	le := binary.LittleEndian
	for {
		b := raw[used:]
		if len(b) < 2+1+4 {
			return changes, used
		}
		n := int(le.Uint16(b)) + 2
		if n > maxChange || n < 3 || n+4 > len(b) || le.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli()) {
			return changes, used
		}
		c, ok := decodeChange(changeKind(b[2]), b[3:n])
		if !ok {
			return changes, used
		}
		changes, used = append(changes, c), used+n+4
	}
}

func decodeChange(kind changeKind, b []byte) (c change, ok bool) {
	r := &cacheReader{b: b}
	c.kind = kind
	switch kind {
	case setFlags:
		r.flags(&c)
	case added:
		r.flags(&c)
		c.m.Base = r.string()
		c.m.Size, c.m.FileSize = int64(r.uint64()), int64(r.uint64())
		c.m.date, c.m.saved = r.uint32(), r.uint32()
		if c.m.Base == "" || c.m.Size < 0 || strings.IndexByte(c.m.Base, '/') >= 0 {
			return c, false
		}
	case expunged:
		c.m.ModSeq, c.m.UID = r.uint64(), r.uint32()
	case highest:
		c.m.ModSeq, c.m.UID = r.uint64(), 1
	case setDates:
		c.m.UID, c.m.date, c.m.saved = r.uint32(), r.uint32(), r.uint32()
	case sawFolder:
		c.m.UID = 1
		r.stamps(&c.at)
	case sawFolder2:
		c.m.UID = 1
		c.at.new.mtime, c.at.newOK = int64(r.uint64()), r.byte() == 1
		c.at.cur.mtime, c.at.curOK = int64(r.uint64()), trust(r.byte())
	default:
		return c, false
	}
	return c, !r.bad && len(r.b) == 0 && c.m.UID > 0 && c.m.UID <= maxUID && c.m.ModSeq <= maxModSeq && c.at.curOK <= ownChanges
}

func (r *cacheReader) flags(c *change) {
	c.m.ModSeq, c.m.UID = r.uint64(), r.uint32()
	c.m.Flags, c.m.Keywords = Flags(r.byte()), r.uint64()
	c.m.where, c.path = where(r.byte()), r.string()
	if c.m.where > odd || (c.m.where == odd) != (c.path != "") || c.path != "" && !plausiblePath(c.path) {
		r.bad = true
	}
}

func (r *cacheReader) stamps(s *stamps) {
	h := &s.ids.header
	h.validity, h.next, h.guid, h.rest = r.uint32(), r.uint32(), r.string(), r.string()
	s.ids.dev, s.ids.ino, s.ids.size, s.ids.lines = r.uint64(), r.uint64(), int64(r.uint64()), int(r.uint64())
	s.idsMtime, s.ids.read = int64(r.uint64()), true
	s.new = r.stamp()
	s.newOK = r.byte() == 1
	s.cur = r.stamp()
	s.curOK = trust(r.byte())
}
