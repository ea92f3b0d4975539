// Package postgres runs a real PostgreSQL for tests: Debian's, by `make bin/postgresql/server`.
//
// PostgreSQL refuses to run as root. Then it runs as the user nobody, in a directory of that user.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// User is the owner of the database, and a superuser.
	User = "gridlatch"
	// Database is the name of the database.
	Database = "ledger"

	startTimeout = time.Minute
	stopTimeout  = 30 * time.Second
	nobody       = 65534
)

// A Server is a PostgreSQL with its own data. It ends with the test.
type Server struct {
	// Password is the password of User. It has characters that a URL must escape.
	Password string

	t         testing.TB
	dir, bin  string
	libraries []string
	port      int
	run       *exec.Cmd     // nil while it is stopped
	ended     chan struct{} // closed once run has ended
}

// Start runs a PostgreSQL for as long as the test. The test is skipped without PostgreSQL, but
// fails in CI and with GRIDLATCH_POSTGRES=required.
func Start(t testing.TB) *Server {
	t.Helper()
	tree := require(t)
	dir, err := os.MkdirTemp("", "gridlatch-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, dir: dir, Password: "p@ss/w:rd #1?"}
	t.Cleanup(func() {
		s.Stop("immediate")
		if t.Failed() {
			log, _ := os.ReadFile(s.path("log"))
			t.Logf("the end of the log of PostgreSQL:\n%s", log[max(0, len(log)-4000):])
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := s.install(tree); err != nil {
		t.Fatal(err)
	}
	if err := s.initialize(); err != nil {
		t.Fatal(err)
	}
	s.Start()
	s.Exec("postgres", "CREATE DATABASE "+Database)
	return s
}

// require returns the directory of PostgreSQL's files.
func require(t testing.TB) string {
	t.Helper()
	top, err := sourceTree()
	if err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(top, "bin", "postgresql")
	_, err = os.Stat(filepath.Join(tree, "server", "postgres"))
	switch {
	case err == nil:
	case os.Getenv("CI") != "" || os.Getenv("GRIDLATCH_POSTGRES") == "required":
		t.Fatal("PostgreSQL is missing: make bin/postgresql/server")
	default:
		t.Skip("PostgreSQL is missing: make bin/postgresql/server")
	}
	return tree
}

// sourceTree returns the top of the source tree.
func sourceTree() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "versions.mk")); missing == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			err = errors.New("not inside")
		}
		dir = filepath.Dir(dir)
	}
	return "", fmt.Errorf("find the source tree: %w", err)
}

// install finds the programs. The user nobody may not reach files that were fetched into the source
// tree, so root copies those.
func (s *Server) install(tree string) error {
	if fetched := filepath.Join(tree, "root"); isRoot() && isThere(fetched) {
		copied := s.path("postgresql")
		if err := os.CopyFS(copied, os.DirFS(tree)); err != nil {
			return fmt.Errorf("copy PostgreSQL: %w", err)
		}
		tree = copied
	}
	var err error
	if s.bin, err = filepath.EvalSymlinks(filepath.Join(tree, "server")); err != nil {
		return fmt.Errorf("find PostgreSQL: %w", err)
	}
	if s.libraries, err = filepath.Glob(filepath.Join(tree, "root", "usr", "lib", "*-linux-gnu*")); err != nil {
		return fmt.Errorf("find the libraries of PostgreSQL: %w", err)
	}
	if isRoot() {
		return os.Chown(s.dir, nobody, nobody)
	}
	return nil
}

func isRoot() bool { return os.Geteuid() == 0 }

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// command returns a program of PostgreSQL that is yet to run.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + s.bin + ":" + os.Getenv("PATH"), "LANG=C.UTF-8", "HOME=" + s.dir, "PGPASSWORD=" + s.Password}
	if len(s.libraries) > 0 {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+strings.Join(s.libraries, ":"))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if isRoot() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd
}

func (s *Server) runToEnd(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout) // also after the test's context
	defer cancel()
	if out, err := s.command(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// initialize makes the data directory.
func (s *Server) initialize() error {
	password := s.path("password")
	if err := os.WriteFile(password, []byte(s.Password+"\n"), 0o600); err != nil {
		return err
	}
	if isRoot() {
		if err := os.Chown(password, nobody, nobody); err != nil {
			return err
		}
	}
	return s.runToEnd("initdb", "--pgdata="+s.path("data"), "--username="+User, "--pwfile="+password,
		"--auth=scram-sha-256", "--encoding=UTF8", "--no-sync")
}

// Start starts the server after Stop, at the same address, and returns when it answers. Start fails
// the test if that takes too long.
func (s *Server) Start() {
	s.t.Helper()
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	if s.port == 0 {
		if s.port, err = freePort(); err != nil {
			s.t.Fatal(err)
		}
	}
	// Synchronous commits stay on: what is committed must be there after a crash.
	s.run = s.command(context.Background(), "postgres", "-D", s.path("data"), "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories="+s.dir, "-c", "jit=off", "-c", "shared_buffers=16MB", "-c", "max_connections=20", "-c", "timezone=Europe/Berlin")
	s.run.Stdout, s.run.Stderr = log, log
	s.run.SysProcAttr.Pdeathsig = syscall.SIGQUIT // an immediate end, if the test ends without a chance to clean up
	if err := s.launch(); err != nil {
		s.t.Fatal(err)
	}
	var ready error
	for end := time.Now().Add(startTimeout); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ready = s.runToEnd("psql", s.AddressOf(User, s.Password, "postgres"), "--command=SELECT 1"); ready == nil {
			return
		}
	}
	s.t.Fatalf("PostgreSQL does not start: %v", ready)
}

// launch starts the process of the server, and closes s.ended once the process has ended.
func (s *Server) launch() error {
	run, started, ended := s.run, make(chan error), make(chan struct{})
	go func() {
		// Never unlocked: a death signal is tied to the thread that forked, so that has to live for as long.
		runtime.LockOSThread()
		err := run.Start()
		started <- err
		if err == nil {
			_ = run.Wait() // its status says only how it was stopped
			close(ended)
		}
	}()
	s.ended = ended
	return <-started
}

// freePort returns a port that nobody uses at the moment.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// Stop stops the server as pg_ctl stop does: "smart", "fast", or "immediate", which is a crash. The
// data stay.
func (s *Server) Stop(mode string) {
	s.t.Helper()
	if s.run == nil || s.run.Process == nil {
		return
	}
	signal := map[string]os.Signal{"smart": syscall.SIGTERM, "fast": syscall.SIGINT, "immediate": syscall.SIGQUIT}[mode]
	if err := s.run.Process.Signal(signal); err != nil {
		s.t.Error(err)
	}
	select {
	case <-s.ended:
	case <-time.After(stopTimeout):
		_ = s.run.Process.Kill() // it may have ended
		<-s.ended
	}
	s.run = nil
}

// Freeze stops all processes of the server without ending them, as a machine that hangs, until thaw
// is called.
func (s *Server) Freeze() (thaw func()) {
	s.t.Helper()
	pids := append(children(s.run.Process.Pid), s.run.Process.Pid)
	each := func(signal syscall.Signal) {
		for _, pid := range pids {
			_ = syscall.Kill(pid, signal) // it may have ended
		}
	}
	each(syscall.SIGSTOP)
	return func() { each(syscall.SIGCONT) }
}

// children returns the child processes of a process.
func children(pid int) []int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)) // none without the file
	var found []int
	for field := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			found = append(found, child)
		}
	}
	return found
}

// URL returns the URL of the database for its owner.
func (s *Server) URL() string { return s.AddressOf(User, s.Password, Database) }

// AddressOf returns the URL of a database for a user.
func (s *Server) AddressOf(user, password, database string) string {
	address := url.URL{
		Scheme: "postgres", User: url.UserPassword(user, password), Host: "127.0.0.1:" + strconv.Itoa(s.port),
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return address.String()
}

// Exec runs statements as the owner, each by itself, and fails the test if one fails.
func (s *Server) Exec(database string, statements ...string) {
	s.t.Helper()
	args := []string{s.AddressOf(User, s.Password, database), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"}
	for _, statement := range statements {
		args = append(args, "--command="+statement)
	}
	if err := s.runToEnd("psql", args...); err != nil {
		s.t.Fatal(err)
	}
}

// Query returns what a query returns, as psql prints it: rows by lines, columns by |.
func (s *Server) Query(query string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), startTimeout)
	defer cancel()
	cmd := s.command(ctx, "psql", s.URL(), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command="+query)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("psql: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}
