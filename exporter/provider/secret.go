package provider

import (
	"errors"
	"strings"
)

// Secret is a key, a password or a token. However a Secret is printed, logged or encoded, its text
// does not show. The zero Secret is empty.
type Secret struct {
	text *string // a pointer, since package fmt prints the content of unexported strings
}

// NewSecret makes a secret. It drops white space at both ends, since files and Secrets often end
// with a newline.
func NewSecret(text string) Secret {
	text = strings.TrimSpace(text)
	return Secret{&text}
}

// IsEmpty reports whether there is no secret.
func (s Secret) IsEmpty() bool { return s.reveal() == "" }

// String hides the secret.
func (s Secret) String() string {
	if s.IsEmpty() {
		return ""
	}
	return hidden
}

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

const hidden = "[hidden]"

func (s Secret) reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// check returns an error if the secret cannot be part of a header. The error does not have the
// secret.
func (s Secret) check(name string) error {
	switch {
	case s.IsEmpty():
		return errors.New(name + ": is empty")
	case strings.ContainsFunc(s.reveal(), func(r rune) bool { return r < ' ' || r > '~' }):
		return errors.New(name + ": has a character that is not printable ASCII")
	}
	return nil
}

// Credentials are what a provider knows its customer by. Which of them are needed depends on the
// provider.
type Credentials struct {
	// Key is the key of ElectricityMaps, or of a server of one's own.
	Key Secret
	// User and Password are those of WattTime.
	User, Password Secret
}
