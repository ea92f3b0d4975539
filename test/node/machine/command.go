package machine

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const help = `gridlatch-node runs a real Kubernetes node on this machine, as root: kubelet, containerd and runc.

  gridlatch-node run --kubeconfig FILE --logs DIR [flags]   run a node until stdin ends
  gridlatch-node check                                      say whether this machine can run one

Flags of run:
  --kubeconfig FILE         how the kubelet connects to the API server; the address is one that the node can reach
  --logs DIR                a directory for the node's logs. When the containers of pods can run, run writes node.json
                            there: an object with the node's name, its first process, its address, and the address of
                            this machine for its pods
  --forward ADDRESS=TARGET  carry connections from ADDRESS in the node to TARGET on this machine,
                            such as 10.0.0.1:443=127.0.0.1:6443
`

// Main runs a command line and returns the exit code: 0 for success, 1 for failure, 2 for a command that makes no
// sense.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	var err error
	switch name {
	case "check":
		err = Check()
	case "run":
		var o Options
		if o, err = parse(args); err != nil {
			fmt.Fprintf(stderr, "gridlatch-node run: %v\n", err)
			return 2
		}
		err = untilEOF(stdin, func(ctx context.Context) error { return Run(ctx, o, o.announce) })
	case bootCommand:
		err = boot(stdin, stdout)
	case "", "help", "-h", "--help":
		fmt.Fprint(stdout, help)
	default:
		fmt.Fprintf(stderr, "unknown command %q; see gridlatch-node --help\n", name)
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func parse(args []string) (Options, error) {
	var o Options
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "")
	flags.StringVar(&o.Logs, "logs", "", "")
	flags.Func("forward", "", func(text string) error {
		address, target, found := strings.Cut(text, "=")
		if !found {
			return errors.New("want ADDRESS=TARGET")
		}
		o.Forwards = append(o.Forwards, Forward{Address: address, Target: target})
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 || o.Kubeconfig == "" || o.Logs == "" {
		return o, errors.New("want --kubeconfig, --logs and no arguments")
	}
	self, err := os.Executable()
	if err != nil {
		return o, fmt.Errorf("find the programs of the node: %w", err)
	}
	o.Programs = filepath.Dir(self)
	return o, nil
}

// untilEOF ends the context of run when stdin ends, so that the node cannot outlive who started it, or at a signal.
func untilEOF(stdin io.Reader, run func(context.Context) error) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // an error is an end, too
		cancel()
	}()
	return run(ctx)
}

// announce writes a file for those who wait for the node, whole or not at all.
func (o Options) announce(n Node) error {
	text, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("announce the node: %w", err)
	}
	path := filepath.Join(o.Logs, "node.json")
	if err := os.WriteFile(path+".part", text, 0o600); err != nil {
		return fmt.Errorf("announce the node: %w", err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		return fmt.Errorf("announce the node: %w", err)
	}
	return nil
}
