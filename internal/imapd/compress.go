package imapd

import (
	"bufio"

	"github.com/emersion/go-imap/v2"
)

// codeCompressionActive: RFC 4978 §3.
const codeCompressionActive imap.ResponseCode = "COMPRESSIONACTIVE"

// compress: RFC 4978. Everything after the answer is compressed, both ways.
func (s *session) compress(p *parser) (reply, error) {
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	mechanism, err := p.word()
	if err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	if mechanism != "DEFLATE" {
		return reply{}, bad("the mechanism is DEFLATE")
	}
	if s.conn.Compressed() {
		return reply{}, no(codeCompressionActive, "this connection is compressed already")
	}
	if err := s.news(nil, true); err != nil {
		return reply{}, err
	}
	s.text(p.tag, " OK compression begins\r\n")
	if err := s.send(); err != nil {
		return reply{}, err
	}
	ahead, _ := s.in.Peek(s.in.Buffered())
	s.conn.Compress(ahead)
	s.in = bufio.NewReaderSize(s.conn, 4<<10)
	return reply{}, errAnswered
}
