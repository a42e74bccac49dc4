package mailbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"

	"peyk/internal/mimescan"
)

// headerRead is how much is read when only the header is wanted.
const headerRead = 8 << 10

// read takes the facts from the beginning of a message, or from all of it. It
// reports whether there was enough of it. What a held before is overwritten.
func (a *Facts) read(data []byte, whole bool, need Need) bool {
	header, ended := cutHeader(data)
	if !whole && (!ended || need&^needsHeader != 0) || len(header) > mimescan.MaxHeader {
		return false
	}
	*a = Facts{Envelope: a.Envelope[:0], Structure: a.Structure[:0], Body: a.Body[:0], Fields: a.Fields[:0]}
	if need&(NeedStructure|NeedBody|NeedPreview) != 0 {
		a.takeStructure(mimescan.ScanBytes(data), bytes.NewReader(data), need)
	}
	a.takeHeader(header, true)
	if need&NeedID != 0 {
		sum := sha256.Sum256(data)
		a.takeID(sum[:])
	}
	return true
}

// learn reads the facts from a message's file, through a small buffer.
func (f *Folder) learn(uid uint32, need Need) (*Facts, error) {
	file, err := f.Open(uid)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	f.host.count.fileReads.Add(1)
	a, err := factsOf(file, need)
	return a, temporary("cannot read the message", f.dir, err)
}

func factsOf(file *os.File, need Need) (*Facts, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	a := &Facts{}
	header, span, err := mimescan.ReadHeader(file, size, mimescan.MaxHeader)
	if err != nil {
		return nil, err
	}
	if need&(NeedStructure|NeedBody|NeedPreview) != 0 {
		root, err := mimescan.Scan(file, size)
		if err != nil {
			return nil, err
		}
		a.takeStructure(root, file, need)
	}
	a.takeHeader(header, span.Len() == int64(len(header)))
	if need&NeedID != 0 {
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(file, 0, size)); err != nil {
			return nil, err
		}
		a.takeID(sum.Sum(nil))
	}
	return a, nil
}

// cutHeader returns the header of a message, with its empty line.
func cutHeader(data []byte) (header []byte, whole bool) {
	for at := 0; at < len(data); {
		n := bytes.IndexByte(data[at:], '\n') + 1
		if n == 0 {
			return data, false
		}
		at += n
		if n == 1 || n == 2 && data[at-2] == '\r' {
			return data[:at], true
		}
	}
	return data, false
}

// takeStructure takes the facts of the body; r is the message.
func (a *Facts) takeStructure(root *mimescan.Part, r io.ReaderAt, need Need) {
	a.Envelope = append(append(append(a.Envelope, '('), root.Envelope...), ')')
	a.Structure = root.AppendBodyStructure(a.Structure, true)
	a.Have |= NeedEnvelope | NeedStructure
	if need&NeedBody != 0 {
		a.Body = root.AppendBodyStructure(a.Body, false)
		a.Have |= NeedBody
	}
	if need&NeedPreview != 0 {
		a.Preview = previewOf(r, root)
		a.preview = []byte(a.Preview)
		a.Have |= NeedPreview
	}
}

func (a *Facts) takeID(sum []byte) {
	a.ID = "M" + hex.EncodeToString(sum[:16])
	a.Have |= NeedID
}
