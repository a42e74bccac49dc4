package mailbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"

	"peyk/internal/mimescan"
)

// learn reads the facts from a message's file.
func (f *Folder) learn(uid uint32, need Need) (*Facts, error) {
	file, err := f.Open(uid)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	facts, err := f.host.factsOf(file, need)
	return facts, temporary("cannot read the message", f.dir, err)
}

// headerRead is how much is read when only the header is wanted.
const headerRead = 8 << 10

func (h *Host) factsOf(file *os.File, need Need) (*Facts, error) {
	h.count.fileReads.Add(1)
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if need&^needsHeader == 0 {
		return headerOnly(file, info.Size(), need)
	}
	return wholeMessage(file, info.Size(), need)
}

func headerOnly(r io.ReaderAt, size int64, need Need) (*Facts, error) {
	facts := &Facts{}
	first := make([]byte, min(size, headerRead))
	if _, err := r.ReadAt(first, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if header, whole := cutHeader(first); whole || size <= headerRead {
		facts.headerFacts(header, true, need)
		return facts, nil
	}
	header, span, err := mimescan.ReadHeader(r, size, mimescan.MaxHeader)
	facts.headerFacts(header, span.Len() == int64(len(header)), need)
	return facts, err
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

func wholeMessage(r io.ReaderAt, size int64, need Need) (*Facts, error) {
	facts, err := headerOnly(r, size, need&needsHeader)
	if err != nil {
		return nil, err
	}
	if need&(NeedStructure|NeedBody) != 0 {
		root, err := mimescan.Scan(r, size)
		if err != nil {
			return nil, err
		}
		facts.Structure = root.AppendBodyStructure(nil, true)
		facts.Body = root.AppendBodyStructure(nil, false)
		facts.Have |= NeedStructure | NeedBody
	}
	if need&NeedID != 0 {
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(r, 0, size)); err != nil {
			return nil, err
		}
		facts.ID = "M" + hex.EncodeToString(sum.Sum(nil)[:16])
		facts.Have |= NeedID
	}
	return facts, nil
}
