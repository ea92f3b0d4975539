package scaler

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	pb "github.com/gridlatch/gridlatch/trigger/scaler/externalscaler"
)

// callerEnv makes this test binary a caller, so that the memory of the caller is not measured.
const callerEnv = "GRIDLATCH_TEST_CALLER"

func TestMain(m *testing.M) {
	if os.Getenv(callerEnv) != "" {
		if err := callMany(os.Getenv(callerEnv), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// callMany opens streams by one connection, as KEDA does, and prints a line when each has its first value
// and another when each has its second. It ends with its input.
func callMany(address string, args []string) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(args[0]))
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool})))
	if err != nil {
		return err
	}
	client, streams := pb.NewExternalScalerClient(connection), []grpc.ServerStreamingClient[pb.IsActiveResponse]{}
	for i := range n {
		stream, err := client.StreamIsActive(context.Background(), refOf(i))
		if err != nil {
			return err
		}
		streams = append(streams, stream)
	}
	for range 2 {
		for _, stream := range streams {
			if _, err := stream.Recv(); err != nil {
				return err
			}
		}
		fmt.Println("all")
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	return nil
}

// refOf is what KEDA sends for a trigger that Gridlatch has rewritten.
func refOf(i int) *pb.ScaledObjectRef {
	r := ref("region", "X", "handler", "scaleDown", "writtenAs", "carbon-intensity", "enableTLS", "true",
		"scalerAddress", "gridlatch-scaler.gridlatch-system.svc:9446")
	r.Name = fmt.Sprintf("model-trainer-%04d", i)
	return r
}

// inUse returns the least memory in MiB that is in use within a while without work. On a busy machine, what runs last
// takes its time, and a stack shrinks by half at a time.
func inUse() float64 {
	least := math.Inf(1)
	for range 20 {
		runtime.GC()
		time.Sleep(50 * time.Millisecond)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, float64(m.HeapInuse+m.StackInuse)/(1<<20))
	}
	return least
}

func TestAThousandStreamsAreSmall(t *testing.T) {
	const maxMiB, n = 16, 1000
	w := newWorld(t)
	w.turn(100, t0.Add(time.Hour))
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.authority.certificate.Raw})
	before := inUse()
	cmd := exec.CommandContext(t.Context(), os.Args[0], string(authority), strconv.Itoa(n))
	cmd.Env, cmd.Stderr = append(os.Environ(), callerEnv+"="+w.address), os.Stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = input.Close(); _ = cmd.Wait() }()
	lines := bufio.NewScanner(output)
	if !lines.Scan() {
		t.Fatal("the caller gets no values")
	}
	if got := w.open(); got != n {
		t.Fatalf("%d streams are open", got)
	}
	w.turn(300, t0.Add(time.Hour))
	began := time.Now()
	w.scaler.Changed()
	if !lines.Scan() {
		t.Fatal("the caller does not get the turn")
	}
	took, taken := time.Since(began), inUse()-before
	t.Logf("%d streams take %.1f MiB, and all tell a turn within %v", n, taken, took)
	if taken > maxMiB {
		t.Errorf("%.1f MiB, want at most %d", taken, maxMiB)
	}
}
