package serving

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
	"sigs.k8s.io/json"
)

// A Reader reads the tokens of a JSON text. It is many times as fast as decoding
// all into Go's own values, and takes no memory for what is skipped.
type Reader struct {
	*jsontext.Decoder
	text []byte
}

// NewReader returns a reader of a text, which may not change meanwhile. To know
// which names an object has already would take memory for all of them: who reads
// one looks out for those that matter, as [Reader.Fields] does.
func NewReader(text []byte) Reader {
	return Reader{jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true)), text}
}

// TooLargeError says which part of a text is larger than it may be.
type TooLargeError struct {
	Path  string
	Limit int // bytes
}

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s: want at most %d KiB", e.Path, e.Limit>>10)
}

// Raw reads one value, which is part of the text.
func (r Reader) Raw() ([]byte, error) {
	value, err := r.ReadValue()
	if err != nil {
		return nil, err
	}
	end := r.InputOffset()
	return r.text[end-int64(len(value)) : end], nil
}

// Part returns what read reads of the text: one value.
func (r Reader) Part(read func() error) ([]byte, error) {
	r.PeekKind() // to the start of the value
	start := r.InputOffset()
	err := read()
	return bytes.TrimLeft(r.text[start:r.InputOffset()], ", \t\r\n"), err
}

// Skip reads over one value, without a look at each token of it.
func (r Reader) Skip() error {
	_, err := r.ReadValue()
	return err
}

// Decode decodes one value of at most so many bytes. One that is larger is read
// over, and fails with a [TooLargeError]. Names match in their own case only.
func (r Reader) Decode(path string, most int, into any) error {
	value, err := r.Raw()
	switch {
	case err != nil:
		return err
	case len(value) > most:
		return &TooLargeError{path, most}
	}
	if err := json.UnmarshalCaseSensitivePreserveInts(value, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Text reads a string of at most so many bytes, or null as an empty one.
func (r Reader) Text(path string, most int) (string, error) {
	value, err := r.Raw()
	switch {
	case err != nil:
		return "", err
	case len(value) > most:
		return "", &TooLargeError{path, most}
	case value[0] == 'n':
		return "", nil
	case value[0] != '"':
		return "", fmt.Errorf("%s: want a string, not %s", path, jsontext.Value(value).Kind())
	}
	text, err := jsontext.AppendUnquote(nil, value)
	return string(text), err
}

// Fields reads an object, or null as one without members: of each name that is
// known, the function reads the value, or skips it. No such name may come twice.
func (r Reader) Fields(path string, known map[string]func() error) error {
	if r.PeekKind() == 'n' {
		return r.Skip()
	}
	return r.Members(path, func(name string) error {
		read, ok := known[name]
		switch {
		case !ok:
			return r.Skip()
		case read == nil:
			return fmt.Errorf("%s.%s: want it once", path, name)
		}
		known[name] = nil
		return read()
	})
}

// Members reads an object; member is called behind each name, and reads its value.
func (r Reader) Members(path string, member func(name string) error) error {
	if err := r.readOpening(path, '{'); err != nil {
		return err
	}
	for {
		token, err := r.ReadToken()
		if err != nil {
			return err
		}
		if token.Kind() == '}' {
			return nil
		}
		if err := member(token.String()); err != nil {
			return err
		}
	}
}

// List reads an array, or null; item reads each of its values.
func (r Reader) List(path string, item func() error) error {
	if r.PeekKind() == 'n' {
		return r.Skip()
	}
	if err := r.readOpening(path, '['); err != nil {
		return err
	}
	for r.PeekKind() != ']' {
		if err := item(); err != nil {
			return err
		}
	}
	_, err := r.ReadToken()
	return err
}

// End fails unless all has been read.
func (r Reader) End() error {
	if _, err := r.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("want one JSON object, and nothing behind it")
	}
	return nil
}

func (r Reader) readOpening(path string, want jsontext.Kind) error {
	token, err := r.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != want {
		return fmt.Errorf("%s: want %s, not %s", path, want, token.Kind())
	}
	return nil
}
