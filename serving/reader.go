package serving

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
	"sigs.k8s.io/json"
)

// Reader reads the tokens of a JSON text. A Reader is many times as fast as decoding the text into
// Go values, and takes no memory for what is skipped.
type Reader struct {
	*jsontext.Decoder
	text []byte
}

// NewReader returns a reader of a text, which must not change while it is read. The reader accepts
// names that an object has twice, since to remember all names would take memory. [Reader.Fields]
// refuses a known name that comes twice.
func NewReader(text []byte) Reader {
	return Reader{jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true)), text}
}

// TooLargeError says which part of a text is larger than allowed.
type TooLargeError struct {
	Path  string
	Limit int // bytes
}

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s: want at most %d KiB", e.Path, e.Limit>>10)
}

// Raw reads one value and returns it as a part of the text.
func (r Reader) Raw() ([]byte, error) {
	value, err := r.ReadValue()
	if err != nil {
		return nil, err
	}
	end := r.InputOffset()
	return r.text[end-int64(len(value)) : end], nil
}

// Part returns the part of the text that read reads: one value.
func (r Reader) Part(read func() error) ([]byte, error) {
	r.PeekKind() // moves to the start of the value
	start := r.InputOffset()
	err := read()
	return bytes.TrimLeft(r.text[start:r.InputOffset()], ", \t\r\n"), err
}

// Skip reads over one value, without a look at each token.
func (r Reader) Skip() error {
	_, err := r.ReadValue()
	return err
}

// Decode decodes one value of at most limit bytes. A larger value is skipped and fails with a
// [TooLargeError]. Names are case-sensitive.
func (r Reader) Decode(path string, limit int, into any) error {
	value, err := r.Raw()
	switch {
	case err != nil:
		return err
	case len(value) > limit:
		return &TooLargeError{path, limit}
	}
	if err := json.UnmarshalCaseSensitivePreserveInts(value, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Text reads a string of at most limit bytes, and null as an empty string.
func (r Reader) Text(path string, limit int) (string, error) {
	value, err := r.Raw()
	switch {
	case err != nil:
		return "", err
	case len(value) > limit:
		return "", &TooLargeError{path, limit}
	case value[0] == 'n':
		return "", nil
	case value[0] != '"':
		return "", fmt.Errorf("%s: want a string, not %s", path, jsontext.Value(value).Kind())
	}
	text, err := jsontext.AppendUnquote(nil, value)
	return string(text), err
}

// Fields reads an object, and null as an object without members. For each known name, a function
// reads the value. A known name must not come twice.
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

// Members reads an object. After each name, Members calls member, which reads the value.
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

// List reads an array, and null as an empty array. item reads one value of the array.
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

// End fails if something is left to read.
func (r Reader) End() error {
	if _, err := r.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("want one JSON object, and nothing after it")
	}
	return nil
}

// readOpening reads the token that opens an object or an array.
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
