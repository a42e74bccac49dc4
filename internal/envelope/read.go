package envelope

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// ErrCorrupt is what Read and Parse return for a head that Append did not
// write.
var ErrCorrupt = errors.New("cannot read envelope: it is damaged")

// errShort is a head whose end is not there.
var errShort = corrupt("it is cut off")

func corrupt(why string) error { return &corruptError{why} }

type corruptError struct{ why string }

func (e *corruptError) Error() string        { return "cannot read envelope: " + e.why }
func (e *corruptError) Is(target error) bool { return target == ErrCorrupt }

// Read reads the head of a queue file, and leaves r at the first octet of the
// message. It returns the length of the head. Errors of r come back as they
// are; everything else is ErrCorrupt.
func Read(r *bufio.Reader) (*Envelope, int64, error) {
	var head []byte
	for {
		line, err := r.ReadSlice('\n')
		head = append(head, line...)
		if err == io.EOF {
			return nil, 0, errShort
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, 0, err
		}
		if len(head) > MaxHead {
			return nil, 0, corrupt("it is too long")
		}
		if err == nil && lastLine(head) {
			break
		}
	}
	e, n, err := Parse(head)
	return e, int64(n), err
}

// lastLine reports whether head, which ends with a line feed, ends with BDAT.
func lastLine(head []byte) bool {
	start := bytes.LastIndexByte(head[:len(head)-1], '\n') + 1
	return bytes.HasPrefix(head[start:], []byte("BDAT "))
}

// Parse is Read for octets in memory: it returns the length of the head that
// data begins with. Short tells whether
// more data might have helped.
func Parse(data []byte) (*Envelope, int, error) {
	n := headLength(data)
	if n < 0 {
		return nil, 0, errShort
	}
	text := string(data[:n])
	e, err := parse(text)
	if err != nil {
		return nil, 0, err
	}
	if err := e.Check(); err != nil {
		return nil, 0, corrupt(err.Error())
	}
	// The checksum, and whatever the parser was lenient about, in one comparison.
	if written := e.Append(make([]byte, 0, n)); !bytes.Equal(written, data[:n]) {
		return nil, 0, corrupt("its checksum or its spelling is wrong")
	}
	return e, n, nil
}

// Short reports whether err means that data ended before the head did.
func Short(err error) bool { return err == errShort }

func headLength(data []byte) int {
	for at := 0; at < len(data); {
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			return -1
		}
		if bytes.HasPrefix(data[at:], []byte("BDAT ")) {
			return at + end + 1
		}
		at += end + 1
	}
	return -1
}

// parse takes the commands apart. It may be lenient: Parse compares.
func parse(text string) (*Envelope, error) {
	e := new(Envelope)
	for text != "" {
		line, rest, ok := strings.Cut(text, "\r\n")
		if !ok || len(line)+2 > MaxLine {
			return nil, corrupt("a line is too long or ends without CRLF")
		}
		text = rest
		if err := e.command(line); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *Envelope) command(line string) error {
	verb, args, _ := strings.Cut(line, " ")
	switch verb {
	case "XFORWARD":
		return e.xforward(args)
	case "XCLIENT":
		return e.xclient(args)
	case "MAIL":
		return e.mail(args)
	case "RCPT":
		return e.rcpt(args)
	case "NOOP":
		return e.noop(args)
	case "BDAT":
		return e.bdat(args)
	}
	return corrupt("it has an unknown command")
}

func (e *Envelope) xforward(args string) error {
	id, err := DecodeXtext(strings.TrimPrefix(args, "IDENT="))
	e.ID = id
	return spelling(err)
}

func (e *Envelope) xclient(args string) error {
	fields := map[string]*string{"ADDR": &e.Client.Addr, "NAME": &e.Client.Name, "HELO": &e.Client.Helo,
		"PROTO": &e.Client.Proto, "LOGIN": &e.Client.Login}
	for word := range strings.SplitSeq(args, " ") {
		name, value, _ := strings.Cut(word, "=")
		field := fields[name]
		if field == nil {
			return corrupt("it has an unknown attribute")
		}
		decoded, err := DecodeXtext(value)
		if err != nil {
			return spelling(err)
		}
		*field = decoded
	}
	e.Client.Addr = strings.TrimPrefix(e.Client.Addr, "IPV6:")
	return nil
}

func (e *Envelope) mail(args string) error {
	path, params, err := takePath(args, "FROM:<")
	if err != nil {
		return err
	}
	e.Sender = path
	for word := range strings.FieldsSeq(params) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "SIZE":
			e.Size, err = count(value)
		case "BODY":
			e.Body = value
		case "SMTPUTF8":
			e.SMTPUTF8 = true
		case "REQUIRETLS":
			e.RequireTLS = true
		case "RET":
			e.Ret = value
		case "ENVID":
			e.EnvID, err = DecodeXtext(value)
		default:
			return corrupt("it has an unknown parameter")
		}
		if err != nil {
			return spelling(err)
		}
	}
	return nil
}

func (e *Envelope) rcpt(args string) error {
	path, params, err := takePath(args, "TO:<")
	if err != nil {
		return err
	}
	r := Recipient{Address: path}
	for word := range strings.FieldsSeq(params) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "NOTIFY":
			r.Notify = strings.Split(value, ",")
		case "ORCPT":
			kind, addr, _ := strings.Cut(value, ";")
			addr, err = DecodeXtext(addr)
			r.ORcpt = kind + ";" + addr
		default:
			return corrupt("it has an unknown parameter")
		}
		if err != nil {
			return spelling(err)
		}
	}
	if len(e.Recipients) == MaxRecipients {
		return corrupt("it has too many recipients")
	}
	e.Recipients = append(e.Recipients, r)
	return nil
}

func (e *Envelope) noop(args string) error {
	_, sum, _ := strings.Cut(args, "/")
	n, err := strconv.ParseUint(sum, 16, 32)
	e.Sum = uint32(n)
	return spelling(err)
}

func (e *Envelope) bdat(args string) error {
	digits, _, _ := strings.Cut(args, " ")
	n, err := count(digits)
	e.Size = n
	return spelling(err)
}

func count(digits string) (int64, error) {
	if len(digits) != countWidth {
		return 0, errors.New("width")
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	return int64(n), err
}

func spelling(err error) error {
	if err != nil {
		return corrupt("a value is misspelt")
	}
	return nil
}

func takePath(args, prefix string) (path, params string, err error) {
	rest, ok := strings.CutPrefix(args, prefix)
	end := endOfPath(rest, true)
	if !ok || end < 0 {
		return "", "", corrupt("an address is misspelt")
	}
	return rest[:end], rest[end+1:], nil
}
