package mailbox

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
)

// cacheMagic begins the file; its last digit is the version of the format.
const cacheMagic = "peyk-mb2"

// Sizes in the file: of a message without its base name, and of an expunge.
const (
	cacheRecord   = 4 + 1 + 1 + 2 + 8 + 8 + 8 + 8 + 4 + 4
	cacheVanished = 8 + 4
)

// maxModSeq bounds what a file may claim (RFC 7162 §7: 63 bits).
const maxModSeq = 1 << 62

var errCache = errors.New("not a folder cache, or a broken one")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// encode writes the file: magic, header, one record a message, their base
// names without gaps, the odd names, the absent lines, the expunges, checksum.
func (c *cached) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, 512+c.messages.n*(cacheRecord+64)+len(c.vanished)*cacheVanished)
	b = append(b, cacheMagic...)
	b = c.at.append(b)
	for _, n := range []uint64{c.logID, uint64(c.logEnd), c.floor, c.highest} {
		b = le.AppendUint64(b, n)
	}
	b = le.AppendUint32(b, uint32(c.messages.n))
	for _, m := range c.messages.All() {
		b = le.AppendUint32(b, m.UID)
		b = append(b, byte(m.Flags), byte(m.where))
		b = le.AppendUint16(b, uint16(len(m.Base)))
		b = le.AppendUint64(b, m.Keywords)
		b = le.AppendUint64(b, m.ModSeq)
		b = le.AppendUint64(b, uint64(m.Size))
		b = le.AppendUint64(b, uint64(m.FileSize))
		b = le.AppendUint32(b, m.date)
		b = le.AppendUint32(b, m.saved)
	}
	for _, m := range c.messages.All() {
		b = append(b, m.Base...)
	}
	odds := c.messages.odds()
	b = le.AppendUint32(b, uint32(len(odds)))
	for uid, path := range odds {
		b = appendString(le.AppendUint32(b, uid), path)
	}
	b = le.AppendUint32(b, uint32(len(c.absent)))
	for base, uid := range c.absent {
		b = appendString(le.AppendUint32(b, uid), base)
	}
	b = le.AppendUint32(b, uint32(len(c.vanished)))
	for _, v := range c.vanished {
		b = le.AppendUint32(le.AppendUint64(b, v.modSeq), v.uid)
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func appendStamp(b []byte, s stamp) []byte {
	le := binary.LittleEndian
	return le.AppendUint64(le.AppendUint64(le.AppendUint64(b, s.dev), s.ino), uint64(s.mtime))
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

func (r *cacheReader) stamp() stamp {
	return stamp{dev: r.uint64(), ino: r.uint64(), mtime: int64(r.uint64())}
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
	c := &cached{absent: make(map[string]uint32)}
	r.stamps(&c.at)
	c.logID, c.logEnd, c.floor, c.highest = r.uint64(), int64(r.uint64()), r.uint64(), r.uint64()
	messages := r.messages()
	odds := make(map[uint32]string)
	for range r.count(6) {
		uid := r.uint32()
		odds[uid] = r.string()
	}
	for range r.count(6) {
		uid := r.uint32()
		c.absent[r.string()] = uid
	}
	c.vanished = make([]vanished, r.count(cacheVanished))
	for i := range c.vanished {
		c.vanished[i] = vanished{r.uint64(), r.uint32()}
	}
	if r.bad || len(r.b) > 0 || !c.plausible(messages, odds) {
		return nil, errCache
	}
	c.messages = ListOf(messages)
	c.messages.setOdd(odds)
	return c, nil
}

func (r *cacheReader) messages() []Message {
	le := binary.LittleEndian
	n := r.count(cacheRecord)
	messages := make([]Message, n)
	records := r.take(n * cacheRecord)
	total := 0
	for i := range messages {
		b := records[i*cacheRecord:][:cacheRecord]
		messages[i] = Message{UID: le.Uint32(b), Flags: Flags(b[4]), where: where(b[5]), Keywords: le.Uint64(b[8:]),
			ModSeq: le.Uint64(b[16:]), Size: int64(le.Uint64(b[24:])), FileSize: int64(le.Uint64(b[32:])),
			date: le.Uint32(b[40:]), saved: le.Uint32(b[44:])}
		total += int(le.Uint16(b[6:]))
	}
	if total > len(r.b) {
		r.bad = true
		return nil
	}
	bases := string(r.take(total)) // one allocation for all names
	for i := range messages {
		n := int(le.Uint16(records[i*cacheRecord+6:]))
		messages[i].Base, bases = bases[:n], bases[n:]
	}
	return messages
}

// plausible checks what the rest of the package takes for granted.
func (c *cached) plausible(messages []Message, odds map[uint32]string) bool {
	last := uint32(0)
	for i := range messages {
		m := &messages[i]
		if m.UID <= last || m.where > odd || m.Base == "" || m.Size < 0 || m.ModSeq > c.highest || strings.IndexByte(m.Base, '/') >= 0 {
			return false
		}
		if m.where == odd && !plausiblePath(odds[m.UID]) {
			return false
		}
		last = m.UID
	}
	seq := uint64(0)
	for _, v := range c.vanished {
		if v.modSeq < seq || v.modSeq > c.highest {
			return false
		}
		seq = v.modSeq
	}
	h := &c.at.ids.header
	return h.validity != 0 && h.next > last && c.at.ids.size >= 0 && c.highest > 0 && c.highest <= maxModSeq && c.at.curOK <= ownChanges
}

// plausiblePath accepts the path of a message below its folder.
func plausiblePath(path string) bool {
	return (strings.HasPrefix(path, "cur/") || strings.HasPrefix(path, "new/")) && len(path) > 4 && strings.IndexByte(path[4:], '/') < 0
}
