package mailbox

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// cacheMagic begins the file; its last digit is the version of the format.
const cacheMagic = "peyk-mb1"

// cacheRecord is the size of one message in the file, without its base name.
const cacheRecord = 4 + 1 + 1 + 2 + 4 + 8 + 8

var errCache = errors.New("not a folder cache, or a broken one")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// encode writes the file: magic, header, one record a message, their base
// names without gaps, the odd names, the absent lines, checksum.
func (c *cached) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, 512+len(c.messages)*(cacheRecord+64))
	b = append(b, cacheMagic...)
	b = le.AppendUint32(b, c.ids.header.validity)
	b = le.AppendUint32(b, c.ids.header.next)
	b = appendString(b, c.ids.header.guid)
	b = appendString(b, c.ids.header.rest)
	for _, n := range []uint64{c.ids.dev, c.ids.ino, uint64(c.ids.size), uint64(c.ids.lines), uint64(c.idsMtime)} {
		b = le.AppendUint64(b, n)
	}
	b = appendStamp(b, c.newStamp, c.newOK)
	b = appendStamp(b, c.curStamp, c.curOK)
	b = le.AppendUint32(b, uint32(len(c.messages)))
	for i := range c.messages {
		m := &c.messages[i]
		b = le.AppendUint32(b, m.UID)
		b = append(b, byte(m.Flags), byte(m.where))
		b = le.AppendUint16(b, uint16(len(m.Base)))
		b = le.AppendUint32(b, uint32(m.Keywords))
		b = le.AppendUint64(b, uint64(m.Size))
		b = le.AppendUint64(b, uint64(m.FileSize))
	}
	for i := range c.messages {
		b = append(b, c.messages[i].Base...)
	}
	b = le.AppendUint32(b, uint32(len(c.odd)))
	for uid, path := range c.odd {
		b = appendString(le.AppendUint32(b, uid), path)
	}
	b = le.AppendUint32(b, uint32(len(c.absent)))
	for base, uid := range c.absent {
		b = appendString(le.AppendUint32(b, uid), base)
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func appendStamp(b []byte, s stamp, ok bool) []byte {
	le := binary.LittleEndian
	b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, s.dev), s.ino), uint64(s.mtime))
	if ok {
		return append(b, 1)
	}
	return append(b, 0)
}

// cacheReader takes fields off the front; after the first that is not there
// all are zero.
type cacheReader struct {
	b   []byte
	bad bool
}

func (r *cacheReader) take(n int) []byte {
	if n > len(r.b) {
		r.bad, r.b = true, nil
		return make([]byte, n)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *cacheReader) byte() byte     { return r.take(1)[0] }
func (r *cacheReader) uint32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *cacheReader) uint64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *cacheReader) string() string {
	return string(r.take(int(binary.LittleEndian.Uint16(r.take(2)))))
}

func (r *cacheReader) stamp() (s stamp, ok bool) {
	s.dev, s.ino, s.mtime = r.uint64(), r.uint64(), int64(r.uint64())
	return s, r.byte() == 1
}

// count takes a number of things of at least size octets each.
func (r *cacheReader) count(size int) int {
	n := int(r.uint32())
	if n > len(r.b)/size {
		r.bad = true
		return 0
	}
	return n
}

// decodeCache reads the file, and believes nothing of it that the checksum
// does not cover or that makes no sense.
func decodeCache(raw []byte) (*cached, error) {
	end := len(raw) - 4
	if end < len(cacheMagic) || string(raw[:len(cacheMagic)]) != cacheMagic ||
		binary.LittleEndian.Uint32(raw[end:]) != crc32.Checksum(raw[:end], castagnoli()) {
		return nil, errCache
	}
	r := &cacheReader{b: raw[len(cacheMagic):end]}
	c := &cached{odd: make(map[uint32]string), absent: make(map[string]uint32)}
	h := &c.ids.header
	h.validity, h.next, h.guid, h.rest = r.uint32(), r.uint32(), r.string(), r.string()
	c.ids.dev, c.ids.ino, c.ids.size, c.ids.lines = r.uint64(), r.uint64(), int64(r.uint64()), int(r.uint64())
	c.idsMtime, c.ids.read = int64(r.uint64()), true
	c.newStamp, c.newOK = r.stamp()
	c.curStamp, c.curOK = r.stamp()
	r.messages(c)
	for range r.count(6) {
		uid := r.uint32()
		c.odd[uid] = r.string()
	}
	for range r.count(6) {
		uid := r.uint32()
		c.absent[r.string()] = uid
	}
	if r.bad || len(r.b) > 0 || !c.plausible() {
		return nil, errCache
	}
	return c, nil
}

func (r *cacheReader) messages(c *cached) {
	n := r.count(cacheRecord)
	c.messages = make([]Message, n)
	lengths := make([]int, n)
	total := 0
	for i := range c.messages {
		m := &c.messages[i]
		m.UID, m.Flags, m.where = r.uint32(), Flags(r.byte()), where(r.byte())
		lengths[i] = int(binary.LittleEndian.Uint16(r.take(2)))
		m.Keywords, m.Size, m.FileSize = uint64(r.uint32()), int64(r.uint64()), int64(r.uint64())
		total += lengths[i]
	}
	if total > len(r.b) {
		r.bad = true
		return
	}
	bases := string(r.take(total)) // one allocation for all names
	for i := range c.messages {
		c.messages[i].Base, bases = bases[:lengths[i]], bases[lengths[i]:]
	}
}

// plausible checks what the rest of the package takes for granted.
func (c *cached) plausible() bool {
	last := uint32(0)
	for i := range c.messages {
		m := &c.messages[i]
		if m.UID <= last || m.where > odd || m.Base == "" || m.Size < 0 || m.Keywords>>maxKeywords != 0 {
			return false
		}
		if m.where == odd && c.odd[m.UID] == "" {
			return false
		}
		last = m.UID
	}
	return c.ids.header.validity != 0 && c.ids.header.next > last && c.ids.size >= 0
}
