package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain makes this program a stand-in for the components, too: started under a component's name, it plays it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains(componentNames, os.Args[1]) {
		if err := play(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// play does as little as makes the supervisor believe in the component. The file logs/NAME.act in the cluster's
// directory makes it misbehave: its content is printed, the file removed, and the component fails.
func play(name string, args []string) error {
	act := filepath.Join("logs", name+".act")
	if text, err := os.ReadFile(act); err == nil {
		if err := os.Remove(act); err != nil {
			return err
		}
		return errors.New(string(text))
	}
	flags := map[string]string{}
	for _, arg := range args {
		key, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		flags[key] = value
	}
	if name == etcd {
		if err := os.WriteFile(etcdClientSocket, nil, 0o600); err != nil {
			return err
		}
	}
	if flags["secure-port"] == "" {
		time.Sleep(time.Hour) // select {} would be a deadlock for Go, which knows no other goroutine here
	}
	return http.ListenAndServeTLS("127.0.0.1:"+flags["secure-port"], flags["tls-cert-file"],
		flags["tls-private-key-file"], http.HandlerFunc(answer))
}

// answer is yes to everything, and to a question about nodes that there are two ready ones.
func answer(w http.ResponseWriter, r *http.Request) {
	node := `{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`
	if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/nodes") {
		fmt.Fprintf(w, `{"items":[%s,%s]}`, node, node)
	}
}

func TestSupervisor(t *testing.T) {
	t.Run("announces the cluster, and stops every component when it is told to", func(t *testing.T) {
		o, progress := fakeCluster(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- Run(ctx, o) }()
		await(t, filepath.Join(o.Dir, "ready"))
		if n := len(processes(t, o.Dir)); n != len(componentNames) {
			t.Errorf("%d components run, want %d", n, len(componentNames))
		}
		if err := Run(t.Context(), o); !errors.Is(err, errBusy) {
			t.Errorf("a second cluster in the directory: error %v, want %v", err, errBusy)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("error %v, want none; progress:\n%s", err, progress)
		}
		for _, name := range entries {
			if _, err := os.Stat(filepath.Join(o.Dir, name)); err == nil {
				t.Errorf("%s is left", name)
			}
		}
	})
	t.Run("names the component that ended, shows its log and stops the others", func(t *testing.T) {
		o, progress := fakeCluster(t)
		misbehave(t, o, nodeSimulator, "cannot simulate")
		err := Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), nodeSimulator) {
			t.Errorf("error %v, want one about %s", err, nodeSimulator)
		}
		if !strings.Contains(progress.String(), "cannot simulate") {
			t.Errorf("the log is not shown:\n%s", progress)
		}
	})
	t.Run("kills a component and starts it again when it is asked to", func(t *testing.T) {
		o, progress := fakeCluster(t)
		disturbances := make(chan string)
		o.Disturbances = disturbances
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- Run(ctx, o) }()
		await(t, filepath.Join(o.Dir, "ready"))
		for _, step := range []struct {
			disturbance string
			components  int
		}{{"kill " + apiServer, len(componentNames) - 1}, {"pause " + etcd, len(componentNames) - 1}, {"resume " + etcd, len(componentNames) - 1}, {"start " + apiServer, len(componentNames)}} {
			disturbances <- step.disturbance
			awaitProcesses(t, o.Dir, step.components)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("error %v, want none; progress:\n%s", err, progress)
		}
	})
	t.Run("fails when it is asked for a disturbance that it does not know", func(t *testing.T) {
		for _, text := range []string{"tease " + etcd, "kill nobody", ""} {
			o, _ := fakeCluster(t)
			disturbances := make(chan string, 1)
			disturbances <- text
			o.Disturbances = disturbances
			if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), text+": ") {
				t.Errorf("%q: error %v", text, err)
			}
		}
	})
	t.Run("tries other ports when one is taken", func(t *testing.T) {
		o, progress := fakeCluster(t)
		misbehave(t, o, apiServer, "listen tcp: bind: address already in use")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- Run(ctx, o) }()
		await(t, filepath.Join(o.Dir, "ready"))
		cancel()
		if err := <-ended; err != nil || !strings.Contains(progress.String(), "trying other ports") {
			t.Errorf("error %v, want none and another attempt; progress:\n%s", err, progress)
		}
	})
	t.Run("gives up when the cluster is not ready in time", func(t *testing.T) {
		o, _ := fakeCluster(t)
		o.Nodes, o.Timeout = 3, 4*time.Second // there are never more than two
		err := Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "2 of 3 nodes are ready") {
			t.Errorf("error %v, want one about the nodes", err)
		}
	})
}

// fakeCluster is a cluster of stand-ins. The test fails if one is left at its end.
func fakeCluster(t *testing.T) (Options, *buffer) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, progress := t.TempDir(), &buffer{}
	t.Cleanup(func() {
		if left := processes(t, dir); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	})
	return Options{Dir: dir, Nodes: 2, Timeout: 20 * time.Second, Binary: binary, Progress: progress}, progress
}

func misbehave(t *testing.T, o Options, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(o.Dir, "logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "logs", name+".act"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come", path)
		}
	}
}

// awaitProcesses waits until so many processes have their working directory in dir.
func awaitProcesses(t *testing.T, dir string, want int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); len(processes(t, dir)) != want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d processes, want %d", len(processes(t, dir)), want)
		}
	}
}

// processes gives the command lines of the processes whose working directory is dir.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		// A process that has just ended cannot be read.
		if cwd, err := os.Readlink(path); err == nil && cwd == dir {
			found = append(found, path)
		}
	}
	return found
}

// A buffer is a bytes.Buffer that can be read while it is written to.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestDirectory(t *testing.T) {
	t.Run("with other files is neither used nor removed", func(t *testing.T) {
		dir := t.TempDir()
		precious := filepath.Join(dir, "kubeconfig")
		if err := os.WriteFile(precious, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := claim(dir); err == nil {
			t.Error("it was claimed")
		}
		if stopped, err := Down(dir); stopped || err != nil {
			t.Errorf("Down: %v, %v, want nothing to do", stopped, err)
		}
		if _, err := os.Stat(precious); err != nil {
			t.Error(err)
		}
	})
	t.Run("of a supervisor that was killed is removed", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "cluster")
		d, err := claim(dir)
		if err != nil {
			t.Fatal(err)
		}
		d.release()
		if stopped, err := Down(dir); stopped || err != nil {
			t.Errorf("Down: %v, %v, want nothing to stop", stopped, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it is still there: %v", err)
		}
	})
	t.Run("names only a supervisor as its supervisor", func(t *testing.T) {
		d, err := claim(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer d.release()
		if pid, err := d.supervisor(); err == nil {
			t.Errorf("this test, process %d, was taken for one", pid)
		}
	})
}

func TestParseNodeLabels(t *testing.T) {
	tests := []struct {
		name, text string
		want       NodeLabels
		fails      bool
	}{
		{name: "nothing", text: "", want: NodeLabels{}},
		{name: "one value", text: "a=b", want: NodeLabels{"a": {"b"}}},
		{name: "several keys and values", text: "a=b:c,d=e", want: NodeLabels{"a": {"b", "c"}, "d": {"e"}}},
		{name: "an empty value", text: "a=", want: NodeLabels{"a": {""}}},
		{name: "no value", text: "a", fails: true},
		{name: "no key", text: "=b", fails: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseNodeLabels(test.text)
			if (err != nil) != test.fails {
				t.Fatalf("error %v, want one: %v", err, test.fails)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if !test.fails && got.String() != test.text {
				t.Errorf("back to text it is %q, want %q", got, test.text)
			}
		})
	}
}

func TestNodeLabelsAreDealtOutInTurn(t *testing.T) {
	labels := NodeLabels{"topology.kubernetes.io/region": {"west", "east"}}
	for i, want := range []string{"west", "east", "west"} {
		if got := labels.of(i)["topology.kubernetes.io/region"]; got != want {
			t.Errorf("node %d is in %q, want %q", i, got, want)
		}
	}
}

func TestSchedulerConfigKeepsAllButTheConnection(t *testing.T) {
	d, err := open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	from := d.file("mine.yaml")
	text := "kind: KubeSchedulerConfiguration\nclientConnection: {kubeconfig: mine}\nextenders: [{urlPrefix: x}]\n"
	if err := os.WriteFile(from, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeSchedulerConfig(from, d); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(d.schedulerConfig())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Kind             string
		ClientConnection struct{ Kubeconfig string }
		Extenders        []struct{ URLPrefix string }
	}
	if err := json.Unmarshal(written, &got); err != nil {
		t.Fatal(err)
	}
	if got.Kind != "KubeSchedulerConfiguration" || got.ClientConnection.Kubeconfig != d.kubeconfig() || len(got.Extenders) != 1 {
		t.Errorf("got %s", written)
	}
}

func TestMainExitCodes(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want int
	}{
		{"help", []string{"--help"}, 0},
		{"a command's help", []string{"up", "--help"}, 0},
		{"an unknown command", []string{"sideways"}, 2},
		{"an unknown flag", []string{"up", "--sideways"}, 2},
		{"no directory", []string{"up"}, 2},
		{"a stray argument", []string{"down", "--dir", "/nowhere", "now"}, 2},
		{"nothing to stop", []string{"down", "--dir", "/nowhere"}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if got := Main(test.args, strings.NewReader(""), &out, &errs); got != test.want {
				t.Errorf("exit code %d, want %d: %s%s", got, test.want, &out, &errs)
			}
		})
	}
}
