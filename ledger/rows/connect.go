package rows

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	connectTimeout = 10 * time.Second
	// maxFile bounds what is read of a file with a URL or a password.
	maxFile = 64 << 10
)

// Config names a database. What it does not name comes from the variables of libpq, such as
// PGPASSWORD and PGSSLMODE. Without any sslmode, the connection must be by TLS with a certificate
// that is valid for the host (verify-full).
type Config struct {
	// URL is postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=MODE. Only postgres:// is
	// required.
	URL string
	// URLFile names a file with the URL, instead of URL. PasswordFile names a file with the
	// password, and goes before all other passwords. Both files are read again for each new
	// connection. So a password that changes needs no restart.
	URLFile, PasswordFile string
}

// wholeURL matches a URL. Its groups are the password and the query. It is stricter than others: a
// password with a character that should have been escaped would end up in the name of the host or
// of the database, and so in messages.
var wholeURL = regexp.MustCompile(`^postgres(?:ql)?://(?:[^:@/?#\s]*(?::([^@/?#\s]*))?@)?[\pL\pN._,:\[\]%~-]*(?:/[^@/?#\s:]*)?(?:\?([^#\s]*))?$`)

// parameter is the name of a parameter of a URL.
var parameter = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// errURL names no part of the URL: any part can be the password.
var errURL = errors.New(`the URL of the database: want postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full, ` +
	`with special characters of the password in percent-encoding, such as %40 for @`)

// check returns an error if the configuration is wrong whatever the files have.
func (c Config) check() error {
	switch {
	case c.URLFile == "":
		c.PasswordFile = ""
		_, err := c.read()
		return err
	case strings.TrimSpace(c.URL) != "":
		return errors.New("the URL of the database: want a URL or a file with one, not both")
	}
	return nil
}

// read returns how to connect, by a configuration that was checked. No error contains a password.
func (c Config) read() (*pgx.ConnConfig, error) {
	address := strings.TrimSpace(c.URL)
	if c.URLFile != "" {
		content, err := readFile(c.URLFile)
		if err != nil {
			return nil, fmt.Errorf("read the URL of the database: %w", err)
		}
		address = strings.TrimSpace(content)
	}
	parts := wholeURL.FindStringSubmatch(address)
	if parts == nil {
		return nil, errURL
	}
	query, err := url.ParseQuery(parts[2])
	if err != nil {
		return nil, errURL
	}
	for name := range query {
		if !parameter.MatchString(name) {
			return nil, errURL
		}
	}
	config, err := pgx.ParseConfig(withTLS(address, query))
	if err != nil {
		var reason string
		if inner := errors.Unwrap(err); inner != nil { // the error itself repeats the URL
			reason = ": " + redact(inner.Error(), parts[1], query.Get("password"), query.Get("sslpassword"))
		}
		return nil, fmt.Errorf("the URL of the database cannot be used%s", reason)
	}
	return config, c.complete(config)
}

// complete sets the password from its file, and what the URL does not say.
func (c Config) complete(config *pgx.ConnConfig) error {
	if c.PasswordFile != "" {
		password, err := readFile(c.PasswordFile)
		if err != nil {
			return fmt.Errorf("read the password of the database: %w", err)
		}
		config.Password = strings.TrimRight(password, "\r\n")
	}
	if config.ConnectTimeout == 0 || config.ConnectTimeout > connectTimeout {
		config.ConnectTimeout = connectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "gridlatch"
	}
	return nil
}

// withTLS returns the URL with an sslmode. The default of libpq would go on without TLS if somebody
// on the way says that the server has none.
func withTLS(address string, query url.Values) string {
	switch {
	case query.Has("sslmode"), query.Has("ssl"), query.Has("service"), os.Getenv("PGSSLMODE") != "", os.Getenv("PGSERVICE") != "":
		return address
	case !strings.Contains(address, "?"):
		return address + "?sslmode=verify-full"
	case strings.HasSuffix(address, "?"):
		return address + "sslmode=verify-full"
	default:
		return address + "&sslmode=verify-full"
	}
}

// readFile returns a small file.
func readFile(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if info.IsDir() || info.Size() > maxFile {
		return "", fmt.Errorf("%s: want a file of at most %d bytes", name, maxFile)
	}
	content, err := os.ReadFile(name)
	return string(content), err
}

// redact replaces secrets, however they are escaped.
func redact(message string, secrets ...string) string {
	var forms []string
	for _, secret := range secrets {
		forms = append(forms, secret, url.QueryEscape(secret), url.PathEscape(secret))
		if plain, err := url.PathUnescape(secret); err == nil {
			forms = append(forms, plain)
		}
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	for _, form := range forms {
		if form != "" {
			message = strings.ReplaceAll(message, form, "REDACTED")
		}
	}
	return message
}

// connector reads the configuration for each connection anew.
type connector struct{ config Config }

// Connect connects to the database. Errors of the driver hold the whole configuration, with the
// password. So only their text is kept.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	config, err := c.config.read()
	if err != nil {
		return nil, err
	}
	conn, err := stdlib.GetConnector(*config).Connect(ctx)
	if err != nil {
		return nil, errors.New(redact(err.Error(), config.Password))
	}
	return conn, nil
}

// Driver returns the driver.
func (connector) Driver() driver.Driver { return stdlib.GetDefaultDriver() }
