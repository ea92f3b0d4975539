package local

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"

	"sigs.k8s.io/yaml"
)

// The components, by the names under which the binary knows them.
const (
	etcd              = "etcd"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
	nodeSimulator     = "kwok"
)

var componentNames = []string{etcd, apiServer, controllerManager, scheduler, nodeSimulator}

// etcd's sockets, relative to the cluster's directory, where etcd and the API server run: a path would be too long for
// a socket's name in many a test's temporary directory. etcd insists on something like a host and a port.
const (
	etcdClientSocket = "etcd:2379"
	etcdPeerSocket   = "etcd:2380"
)

// stages is KWOK's configuration: the life of simulated nodes and pods.
//
//go:embed stages.yaml
var stages []byte

// settings is what the components' arguments depend on.
type settings struct {
	dir                                 *directory
	apiPort, managerPort, schedulerPort int
	schedulerConfig                     string
	quickAutoscaler                     bool
}

func (s settings) server() string { return loopbackURL(s.apiPort) }

func loopbackURL(port int) string {
	return "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// arguments gives the flags of a component.
func (s settings) arguments(name string) []string {
	switch name {
	case etcd:
		return s.etcd()
	case apiServer:
		return s.apiServer()
	case controllerManager:
		return s.controllerManager()
	case scheduler:
		return s.scheduler()
	default:
		return s.nodeSimulator()
	}
}

func (s settings) etcd() []string {
	client, peer := "unix://"+etcdClientSocket, "unix://"+etcdPeerSocket
	return []string{
		"--name=local", "--data-dir=" + s.dir.file("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=local=" + peer,
		"--quota-backend-bytes=" + strconv.Itoa(8<<30),
	}
}

func (s settings) apiServer() []string {
	return append(s.serving(s.apiPort),
		"--etcd-servers=unix://"+etcdClientSocket,
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.0.0.0/16",
		"--authorization-mode=RBAC",
		"--token-auth-file="+s.dir.file("pki", "tokens.csv"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+s.dir.file("pki", "service-account.pub"),
		"--service-account-signing-key-file="+s.dir.file("pki", "service-account.key"),
		"--max-requests-inflight=4000",
		"--max-mutating-requests-inflight=2000",
		// Without kube-proxy, a webhook's Service must be resolved to its endpoints, and that of an APIService, too.
		"--enable-aggregator-routing=true",
		// What serves an APIService believes who asks only from a client with this certificate.
		"--proxy-client-cert-file="+s.dir.file("pki", "front-proxy.crt"),
		"--proxy-client-key-file="+s.dir.file("pki", "front-proxy.key"),
		"--requestheader-client-ca-file="+s.dir.file("pki", "ca.crt"),
		"--requestheader-allowed-names="+frontProxy,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--allow-privileged=true",
		// Nobody resolves the name of a node.
		"--kubelet-preferred-address-types=InternalIP",
	)
}

func (s settings) controllerManager() []string {
	args := append(append(s.serving(s.managerPort), s.client()...),
		"--use-service-account-credentials=true",
		"--service-account-private-key-file="+s.dir.file("pki", "service-account.key"),
		"--root-ca-file="+s.dir.file("pki", "ca.crt"),
		"--concurrent-job-syncs=20",
		// The simulator's heartbeats may come late on a busy machine; no test wants its pods evicted for that.
		"--node-monitor-grace-period=10m",
	)
	if s.quickAutoscaler {
		args = append(args, "--horizontal-pod-autoscaler-sync-period=1s", "--horizontal-pod-autoscaler-downscale-stabilization=1s")
	}
	return args
}

func (s settings) scheduler() []string {
	args := append(s.serving(s.schedulerPort), s.client()...)
	if s.schedulerConfig != "" {
		args = append(args, "--config="+s.schedulerConfig)
	}
	return args
}

func (s settings) nodeSimulator() []string {
	return []string{
		"--kubeconfig=" + s.dir.kubeconfig(), "--config=" + s.dir.file("kwok.yaml"),
		// A real node may join, and has a kubelet.
		"--manage-all-nodes=false", "--manage-nodes-with-label-selector=" + simulatedLabel + "=" + simulatedValue,
		"--cidr=10.128.0.0/9", "--node-ip=10.1.0.1",
		// Renewed every hundred seconds: a thousand nodes would otherwise keep the API server as busy as any test.
		"--node-lease-duration-seconds=400",
		// It would write a line for every change of every pod.
		"--v=WARN",
	}
}

// serving is how a component listens: on loopback, with the cluster's certificate.
func (s settings) serving(port int) []string {
	return []string{
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port), "--cert-dir=" + s.dir.file("pki"),
		"--tls-cert-file=" + s.dir.file("pki", "serving.crt"),
		"--tls-private-key-file=" + s.dir.file("pki", "serving.key"),
	}
}

// client is how a component reaches the API server, and asks it who may read the component's metrics.
func (s settings) client() []string {
	config := s.dir.kubeconfig()
	return []string{
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authentication-skip-lookup", "--authorization-kubeconfig=" + config,
		"--leader-elect=false", "--kube-api-qps=1000", "--kube-api-burst=2000",
	}
}

// writeSchedulerConfig copies a KubeSchedulerConfiguration with the cluster's own connection settings, since the
// scheduler ignores the flags for them once it has a configuration.
func writeSchedulerConfig(from string, d *directory) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("scheduler configuration: %w", err)
	}
	config := map[string]any{}
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		return fmt.Errorf("scheduler configuration %s: %w", from, err)
	}
	config["clientConnection"] = map[string]any{"kubeconfig": d.kubeconfig(), "qps": 1000, "burst": 2000}
	config["leaderElection"] = map[string]any{"leaderElect": false}
	text, err = json.Marshal(config)
	if err != nil {
		return fmt.Errorf("scheduler configuration: %w", err)
	}
	if err := os.WriteFile(d.schedulerConfig(), text, 0o600); err != nil {
		return fmt.Errorf("scheduler configuration: %w", err)
	}
	return nil
}
