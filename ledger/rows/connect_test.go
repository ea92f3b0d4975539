package rows

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gridlatch/gridlatch/ledger"
)

func TestAURLIsReadWhole(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	t.Setenv("PGPASSWORD", "from the environment")
	for name, test := range map[string]struct {
		url, host, password, database string
		port                          uint16
		isTLS                         bool
	}{
		"all parts":         {url: "postgres://u:p%40ss%2F@db.example:6432/ledger?sslmode=require", host: "db.example", port: 6432, password: "p@ss/", database: "ledger", isTLS: true},
		"no sslmode":        {url: "postgresql://u:p@db/ledger", host: "db", port: 5432, password: "p", database: "ledger", isTLS: true},
		"sslmode disable":   {url: "postgres://u:p@db/ledger?sslmode=disable", host: "db", port: 5432, password: "p", database: "ledger"},
		"an empty query":    {url: "postgres://u:p@db/ledger?", host: "db", port: 5432, password: "p", database: "ledger", isTLS: true},
		"another parameter": {url: "postgres://u:p@db/ledger?search_path=books", host: "db", port: 5432, password: "p", database: "ledger", isTLS: true},
		"two hosts":         {url: "postgres://u:p@db-0:5433,db-1:5434/ledger?target_session_attrs=read-write", host: "db-0", port: 5433, password: "p", database: "ledger", isTLS: true},
		"IPv6":              {url: "postgres://u:p@[::1]:5433/ledger", host: "::1", port: 5433, password: "p", database: "ledger", isTLS: true},
		"no password":       {url: "postgres://u@db/ledger", host: "db", port: 5432, password: "from the environment", database: "ledger", isTLS: true},
		"a socket":          {url: "postgres://u:p@/ledger?host=/run/postgresql", host: "/run/postgresql", port: 5432, password: "p", database: "ledger"},
		"a colon":           {url: "postgres://u:p:q@db/ledger", host: "db", port: 5432, password: "p:q", database: "ledger", isTLS: true},
		"white space":       {url: "\n postgres://u:p@db/ledger \n", host: "db", port: 5432, password: "p", database: "ledger", isTLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Config{URL: test.url}.read()
			if err != nil {
				t.Fatal(err)
			}
			if got.Host != test.host || got.Port != test.port || got.Password != test.password || got.Database != test.database || (got.TLSConfig != nil) != test.isTLS {
				t.Errorf("got host %s, port %d, password %s, database %s, TLS %v", got.Host, got.Port, got.Password, got.Database, got.TLSConfig != nil)
			}
			if got.TLSConfig != nil && !strings.Contains(test.url, "require") && got.TLSConfig.InsecureSkipVerify {
				t.Error("the certificate is not verified")
			}
			if got.ConnectTimeout > connectTimeout || len(got.Fallbacks) > 0 && got.Fallbacks[0].TLSConfig == nil && test.isTLS {
				t.Errorf("the timeout is %v, and %d connections may follow", got.ConnectTimeout, len(got.Fallbacks))
			}
		})
	}
}

func TestNoErrorOfAURLHasThePassword(t *testing.T) {
	for _, url := range []string{
		"", "s3cr3t", "postgres:s3cr3t", "mysql://u:s3cr3t@db/ledger", "user=u password=s3cr3t host=db",
		"postgres://u:s3cr3t#more@db/ledger", "postgres://u:12/s3cr3t@db/ledger", "postgres://u:12?s3cr3t@db/ledger",
		"postgres://u:s3 s3cr3t@db/ledger", "postgres://u:more@s3cr3t@db/ledger",
		"postgres://u:%zzs3cr3t@db/ledger", "postgres://u:s3cr3t\x00@db/ledger", "postgres://u:s3cr3t\n@db/ledger",
		"postgres://u:s3cr3t@db:port/ledger", "postgres://u:s3cr3t@db:99999/ledger", "postgres://u:s3cr3t@db/ledger?sslmode=s3cr3t",
		"postgres://u:p@db/ledger?password=s3cr3t&sslmode=x", "postgres://u:p@db/ledger?password=%zzs3cr3t", "postgres://u:s3cr3t@db/ledger?s3cr3t@",
		"postgres://u:s3cr3t@db/ledger?sslrootcert=/none/s3cr3t&sslmode=verify-full",
		"postgres://u:s3cr3t@db/ledger?connect_timeout=s3cr3t", "postgres://u:s3cr3t@db/ledger#s3cr3t", "postgres://u:s3cr3t@db/le/dger",
	} {
		_, err := Open(Config{URL: url})
		if err == nil {
			t.Errorf("%q: no error", url)
			continue
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "s3cr3t") {
			t.Errorf("%q: the error has the password: %s", url, text)
		}
	}
}

func TestFilesAreSmallAndThere(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	url := file("url", "postgres://u:old@db/ledger?sslmode=disable\n")
	got, err := Config{URLFile: url, PasswordFile: file("password", "new p@ss \r\n")}.read()
	if err != nil || got.Password != "new p@ss " || got.Host != "db" {
		t.Errorf("got %v: %v", got, err)
	}
	for name, config := range map[string]Config{
		"both":                  {URL: "postgres://db", URLFile: url},
		"nothing":               {},
		"a password only":       {PasswordFile: filepath.Join(dir, "password")},
		"a URL that is not one": {URL: "db", PasswordFile: filepath.Join(dir, "password")},
	} {
		if table, err := Open(config); err == nil || table != nil {
			t.Errorf("%s: got %v, and no error", name, table)
		}
	}
	for name, config := range map[string]Config{
		"no file":                 {URLFile: filepath.Join(dir, "none")},
		"no URL":                  {URLFile: file("words", "s3cr3t words")},
		"a directory":             {URLFile: dir},
		"a large file":            {URLFile: file("large", strings.Repeat("x", maxFile+1))},
		"no file of the password": {URLFile: url, PasswordFile: filepath.Join(dir, "none")},
	} {
		table, err := Open(config)
		if err != nil {
			t.Errorf("%s: the program does not start: %v", name, err)
			continue
		}
		if _, err := table.Sync(t.Context(), []ledger.Counted{{}}); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: wrote, or told the file: %v", name, err)
		}
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzAURLNeverPanicsNorTellsItsPassword(f *testing.F) {
	for _, seed := range []string{"s3cr3t", "%40", "a@b", "a/b", "?", "#", "%zz", "\x00", ":1", "x@db:5432/ledger?"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "s3cr3t-s3cr3t"
		_, err := Config{URL: "postgres://user:" + before + secret + after + "@db/ledger"}.read()
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error has the password: %v", err)
		}
	})
}
