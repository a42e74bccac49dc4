package table

// problems collects what is wrong in one file.
type problems struct {
	file     string
	named    map[string]*LineError // by the name that the line was about
	nameless *LineError            // the first line that could have been about anybody
	every    []error
}

// add notes a line that cannot be used; name is whom it was about, "" when
// that is unclear.
func (p *problems) add(name string, line int, err error) {
	e := &LineError{File: p.file, Line: line, Err: err}
	p.every = append(p.every, e)
	if name == "" {
		if p.nameless == nil {
			p.nameless = e
		}
		return
	}
	if p.named == nil {
		p.named = make(map[string]*LineError)
	}
	if p.named[name] == nil {
		p.named[name] = e
	}
}

// warn notes a line that changes nothing.
func (p *problems) warn(line int, err error) {
	p.every = append(p.every, &LineError{File: p.file, Line: line, Err: err})
}

// doubt returns why a name that was not found may be there all the same, nil
// when it certainly is not.
func (p *problems) doubt(name string) error {
	if e := p.named[name]; e != nil {
		return broken(e)
	}
	if p.nameless != nil {
		return broken(p.nameless)
	}
	return nil
}

func (p *problems) all() []error { return p.every }
