package env

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const spark = "spark/operator"

// sparkSubmit stands for Spark's program of that name, which needs Java: it makes the driver's pod from the template
// that the operator wrote, with the name and the labels that it is given, by KUBECTL.
const sparkSubmit = `#!/bin/bash
set -euo pipefail
labels= annotations=
while (($#)); do
	[[ $1 == --conf ]] || { shift; continue; }
	key=${2%%=*} value=${2#*=}
	shift 2
	case $key in
	spark.kubernetes.namespace) namespace=$value;;
	spark.kubernetes.driver.pod.name) name=$value;;
	spark.kubernetes.driver.podTemplateFile) template=$value;;
	spark.kubernetes.driver.label.*) labels+="\"${key#spark.kubernetes.driver.label.}\": \"$value\", ";;
	spark.kubernetes.driver.annotation.*) annotations+="\"${key#spark.kubernetes.driver.annotation.}\": \"$value\", ";;
	esac
done
metadata="{namespace: $namespace, name: $name, labels: {${labels}spark-role: driver}, annotations: {$annotations}}"
spec='{restartPolicy: Never, containers: [{name: spark-kubernetes-driver, image: spark}]}'
{ echo 'apiVersion: v1'; echo 'kind: Pod'; cat "$template"; } |
	"$KUBECTL" kubectl patch --local -f - --type merge -o yaml -p "metadata: $metadata"$'\n'"spec: $spec" |
	"$KUBECTL" kubectl create -f -
`

// RunSpark installs the Spark operator and runs its controllers beside the cluster, as its administrator, until they are
// stopped or this process ends. It returns when they are ready. A driver is a pod of no use, which makes no executors.
// log is as for RunController.
func (c *Cluster) RunSpark(ctx context.Context, log string) (*Program, error) {
	if err := c.installCRDs(ctx, spark); err != nil {
		return nil, err
	}
	p, err := c.engine(spark, "controller", "start", "--enable-ui-service=false")
	if err != nil {
		return nil, err
	}
	home := filepath.Join(filepath.Dir(c.Kubeconfig), "spark")
	if err := os.MkdirAll(filepath.Join(home, "bin"), 0o700); err != nil {
		return nil, fmt.Errorf("make Spark's home: %w", err)
	}
	//nolint:gosec // it is executed
	if err := os.WriteFile(filepath.Join(home, "bin", "spark-submit"), []byte(sparkSubmit), 0o700); err != nil {
		return nil, fmt.Errorf("write spark-submit: %w", err)
	}
	p.cmd.Env = append(p.cmd.Env, "SPARK_HOME="+home, "KUBECTL="+c.binary,
		"KUBERNETES_SERVICE_HOST=localhost", "KUBERNETES_SERVICE_PORT=443") // of which it only makes a name
	p.serveByFlags()
	return p, p.start(ctx, log)
}

// Spark installs the Spark operator and runs its controllers, for as long as the test.
func (c *Cluster) Spark(t testing.TB) *Program {
	t.Helper()
	return during(t, c.RunSpark)
}
