package mailbox

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
)

// factsMagic begins the cache of facts; its last digit is the version of the
// format.
const factsMagic = "peyk-fx1"

// factsHeader is the length of what stands before the first record: magic,
// UIDVALIDITY, four octets 0, salt, four octets 0, checksum.
const factsHeader = 32

// Records are aligned to factsAlign and at most maxFactsRecord long, except an
// index. Facts that need more are not remembered.
const (
	factsAlign     = 8
	maxFactsRecord = 256 << 10
	maxFactsIndex  = 64 << 20
)

// The kinds of records.
const (
	recordFacts  = iota // about one message
	recordIndex         // where the records of all messages are
	recordFooter        // ends what was appended at a time: where the last index is
	recordKinds
)

// Every record begins with its length, checksum, UID, Need, flags and kind.
// Both of facts follow identity, names, ids and the lengths of the parts.
const (
	recordHead     = 16
	factsHead      = recordHead + 8 + 32 + 16 + 16 + 4*5 + 4
	factsFooter    = recordHead + 8
	indexEntrySize = 12
)

const (
	flagFieldsWhole = 1 << iota
	flagThread
)

// factsEntry says where the record of a message is.
type factsEntry struct {
	uid  uint32
	unit uint32 // offset in units of factsAlign
	have Need
}

func (e factsEntry) offset() int64 { return int64(e.unit) * factsAlign }

// identity binds a record to a message: UIDs are bound by UIDVALIDITY, but a
// uidlist may be lost, and restored from an old copy.
func identity(base string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(base) {
		h = (h ^ uint64(base[i])) * 1099511628211
	}
	return h
}

// appendFacts appends a record. Its checksum is missing until sign.
func appendFacts(b []byte, uid uint32, who uint64, a *Facts) []byte {
	le := binary.LittleEndian
	from := len(b)
	flags := byte(0)
	if a.FieldsWhole {
		flags |= flagFieldsWhole
	}
	if a.ThreadID != "" {
		flags |= flagThread
	}
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = le.AppendUint32(b, uid)
	b = le.AppendUint16(b, uint16(a.Have&needsCache))
	b = append(b, flags, recordFacts)
	b = le.AppendUint64(b, who)
	for _, n := range a.others {
		b = le.AppendUint64(b, n)
	}
	b = appendID(appendID(b, a.ID), a.ThreadID)
	parts := [...][]byte{a.Envelope, a.Fields, a.Structure, a.Body, a.preview}
	for _, p := range parts {
		b = le.AppendUint32(b, uint32(len(p)))
	}
	b = append(b, 0, 0, 0, 0)
	for _, p := range parts {
		b = append(b, p...)
	}
	return finish(b, from)
}

// finish pads a record that begins at from, and fills in its length.
func finish(b []byte, from int) []byte {
	for (len(b)-from)%factsAlign != 0 {
		b = append(b, 0)
	}
	binary.LittleEndian.PutUint32(b[from:], uint32(len(b)-from))
	return b
}

// appendID appends the 16 octets of an id, without its letter.
func appendID(b []byte, id string) []byte {
	var raw [16]byte
	if len(id) > 0 {
		hex.Decode(raw[:], []byte(id[1:]))
	}
	return append(b, raw[:]...)
}

// appendRecord appends the head of an index or a footer.
func appendRecord(b []byte, kind byte, count uint32) []byte {
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, count)
	return append(b, 0, 0, 0, kind)
}

// appendIndex appends an index: of how many records the file has in all, then
// the entries in the order of UIDs.
func appendIndex(b []byte, entries []factsEntry, records int) []byte {
	from := len(b)
	le := binary.LittleEndian
	b = appendRecord(b, recordIndex, uint32(len(entries)))
	b = le.AppendUint64(b, uint64(records))
	for _, e := range entries {
		b = le.AppendUint32(le.AppendUint32(b, e.uid), e.unit)
		b = le.AppendUint32(b, uint32(e.have))
	}
	return finish(b, from)
}

// appendFooter appends a footer: where the last index begins, 0 if there is none.
func appendFooter(b []byte, index int64) []byte {
	from := len(b)
	b = appendRecord(b, recordFooter, 0)
	return finish(binary.LittleEndian.AppendUint64(b, uint64(index)), from)
}

// checksum covers a record, the file it is in, and its place there: no record
// is believed that was meant for another file, or stood elsewhere.
func (h factsFileHead) checksum(record []byte, at int64) uint32 {
	var seed [16]byte
	binary.LittleEndian.PutUint64(seed[:], h.salt)
	binary.LittleEndian.PutUint64(seed[8:], uint64(at))
	return crc32.Update(crc32.Checksum(seed[:], castagnoli()), castagnoli(), record[8:])
}

// sign fills in the checksums of records that will stand at an offset.
func (h factsFileHead) sign(records []byte, at int64) {
	for len(records) > 0 {
		n := binary.LittleEndian.Uint32(records)
		binary.LittleEndian.PutUint32(records[4:], h.checksum(records[:n], at))
		records, at = records[n:], at+int64(n)
	}
}

// record returns the first record of b, which stands at an offset; nil when
// there is no whole one.
func (h factsFileHead) record(b []byte, at int64) []byte {
	n := recordLength(b)
	if n == 0 || n > len(b) || binary.LittleEndian.Uint32(b[4:]) != h.checksum(b[:n], at) {
		return nil
	}
	return b[:n]
}

// recordLength returns the length of the record that b begins with, as far as
// it can be true, else 0.
func recordLength(b []byte) int {
	if len(b) < recordHead {
		return 0
	}
	n, limit := int(binary.LittleEndian.Uint32(b)), maxFactsRecord
	if b[15] == recordIndex {
		limit = maxFactsIndex
	}
	if n < factsFooter || n > limit || n%factsAlign != 0 || b[15] >= recordKinds {
		return 0
	}
	return n
}

func recordUID(b []byte) uint32 { return binary.LittleEndian.Uint32(b[8:]) }
func recordHave(b []byte) Need  { return Need(binary.LittleEndian.Uint16(b[12:])) }

// decodeFacts fills a with a record of facts, when it is about this message.
// What a gets points into the record.
func decodeFacts(b []byte, uid uint32, who uint64, need Need, a *Facts) bool {
	le := binary.LittleEndian
	if len(b) < factsHead || b[15] != recordFacts || recordUID(b) != uid || le.Uint64(b[16:]) != who {
		return false
	}
	*a = Facts{Have: recordHave(b), FieldsWhole: b[14]&flagFieldsWhole != 0}
	for i := range a.others {
		a.others[i] = le.Uint64(b[24+8*i:])
	}
	if need&NeedID != 0 && a.Have&NeedID != 0 {
		a.ID = "M" + hex.EncodeToString(b[56:72])
	}
	if need&NeedFields != 0 && b[14]&flagThread != 0 {
		a.ThreadID = "T" + hex.EncodeToString(b[72:88])
	}
	lengths, data := b[88:], b[factsHead:]
	for i, part := range [...]*[]byte{&a.Envelope, &a.Fields, &a.Structure, &a.Body, &a.preview} {
		n := int(le.Uint32(lengths[4*i:]))
		if n > len(data) {
			return false
		}
		*part, data = data[:n:n], data[n:]
	}
	if need&NeedPreview != 0 {
		a.Preview = string(a.preview)
	}
	return len(data) < factsAlign
}

// decodeIndex reads an index. Its entries must ascend, and lie before it.
func decodeIndex(b []byte, at int64) (entries []factsEntry, records int, ok bool) {
	le := binary.LittleEndian
	n := int(recordUID(b))
	data := b[recordHead+8:]
	if b[15] != recordIndex || n > len(data)/indexEntrySize {
		return nil, 0, false
	}
	entries = make([]factsEntry, n, n+n/8+16)
	last := uint32(0)
	for i := range entries {
		e := factsEntry{le.Uint32(data), le.Uint32(data[4:]), Need(le.Uint32(data[8:]))}
		if e.uid <= last || e.offset() < factsHeader || e.offset() >= at {
			return nil, 0, false
		}
		entries[i], last, data = e, e.uid, data[indexEntrySize:]
	}
	return entries, int(le.Uint64(b[recordHead:])), true
}

// factsFileHead is what the file's own header says.
type factsFileHead struct {
	validity uint32
	salt     uint64
}

func (h factsFileHead) encode() []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, factsHeader), factsMagic...)
	b = le.AppendUint32(le.AppendUint32(b, h.validity), 0)
	b = le.AppendUint32(le.AppendUint64(b, h.salt), 0)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func decodeFactsHead(b []byte) (h factsFileHead, ok bool) {
	le := binary.LittleEndian
	if len(b) < factsHeader || string(b[:8]) != factsMagic || le.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli()) {
		return h, false
	}
	return factsFileHead{le.Uint32(b[8:]), le.Uint64(b[16:])}, true
}
