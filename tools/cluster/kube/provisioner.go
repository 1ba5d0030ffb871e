package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	provisionerName = "theblock.dev/hostpath"
	selectedNode    = "volume.kubernetes.io/selected-node"
	lookEvery       = time.Second
)

// A provisioner that gives each claim a folder of the node that the scheduler chose for it.
type provisioner struct {
	client *kubernetes.Clientset
	root   string
	class  string
}

func newProvisionerCommand() *cobra.Command {
	made := &provisioner{}
	var config string
	command := &cobra.Command{
		Use:   "hostpath-provisioner",
		Short: "give claims folders of their node",
		RunE: func(command *cobra.Command, _ []string) error {
			loaded, err := clientcmd.BuildConfigFromFlags("", config)
			if err != nil {
				return err
			}
			if made.client, err = kubernetes.NewForConfig(loaded); err != nil {
				return err
			}
			return made.run(command.Context())
		},
	}
	command.Flags().StringVar(&config, "kubeconfig", "", "how to reach the API server")
	command.Flags().StringVar(&made.root, "root", "", "folder of all volumes")
	command.Flags().StringVar(&made.class, "class", "standard", "storage class to make and serve")
	return command
}

func (p *provisioner) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := p.look(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "looking again:", err)
		}
		pause(ctx, lookEvery)
	}
	return nil
}

// look does whatever is missing; each step may fail and is then done by the next look.
func (p *provisioner) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := p.ensureClass(ctx); err != nil {
		return err
	}
	claims, err := p.client.CoreV1().PersistentVolumeClaims("").List(ctx, meta.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	volumes, err := p.client.CoreV1().PersistentVolumes().List(ctx, meta.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	byName := map[string]*core.PersistentVolume{}
	for index := range volumes.Items {
		byName[volumes.Items[index].Name] = &volumes.Items[index]
	}
	for index := range claims.Items {
		if err := p.serve(ctx, &claims.Items[index], byName); err != nil {
			return err
		}
	}
	for _, volume := range byName {
		if err := p.reclaim(ctx, volume); err != nil {
			return err
		}
	}
	return nil
}

func (p *provisioner) ensureClass(ctx context.Context) error {
	binding, expand := storage.VolumeBindingWaitForFirstConsumer, true
	reclaim := core.PersistentVolumeReclaimDelete
	class := &storage.StorageClass{
		ObjectMeta: meta.ObjectMeta{
			Name:        p.class,
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner: provisionerName, VolumeBindingMode: &binding, AllowVolumeExpansion: &expand, ReclaimPolicy: &reclaim,
	}
	_, err := p.client.StorageV1().StorageClasses().Get(ctx, p.class, meta.GetOptions{})
	if errors.IsNotFound(err) {
		_, err = p.client.StorageV1().StorageClasses().Create(ctx, class, meta.CreateOptions{})
	}
	return err
}

func (p *provisioner) serve(ctx context.Context, claim *core.PersistentVolumeClaim, volumes map[string]*core.PersistentVolume) error {
	if claim.Spec.StorageClassName == nil || *claim.Spec.StorageClassName != p.class || claim.DeletionTimestamp != nil {
		return nil
	}
	if claim.Status.Phase == core.ClaimBound {
		return p.grow(ctx, claim, volumes[claim.Spec.VolumeName])
	}
	node := claim.Annotations[selectedNode]
	name := "pvc-" + string(claim.UID)
	if node == "" || volumes[name] != nil {
		return nil
	}
	path := filepath.Join(p.root, name)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return err
	}
	// The pod's group may differ from the folder's; the mode is what MkdirAll's umask took away.
	if err := os.Chmod(path, 0o777); err != nil {
		return err
	}
	kind := core.HostPathDirectoryOrCreate
	volume := &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": provisionerName}},
		Spec: core.PersistentVolumeSpec{
			AccessModes: claim.Spec.AccessModes,
			Capacity:    core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			ClaimRef: &core.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{{
				MatchExpressions: []core.NodeSelectorRequirement{{
					Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{node},
				}},
			}}}},
			PersistentVolumeReclaimPolicy: core.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        core.PersistentVolumeSource{HostPath: &core.HostPathVolumeSource{Path: path, Type: &kind}},
			StorageClassName:              p.class,
		},
	}
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, volume, meta.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// grow says that a claim has the larger size it asks for: a folder has no size of its own.
func (p *provisioner) grow(ctx context.Context, claim *core.PersistentVolumeClaim, volume *core.PersistentVolume) error {
	wanted := claim.Spec.Resources.Requests[core.ResourceStorage]
	has := claim.Status.Capacity[core.ResourceStorage]
	if volume == nil || wanted.Cmp(has) <= 0 {
		return nil
	}
	larger := volume.DeepCopy()
	larger.Spec.Capacity[core.ResourceStorage] = wanted
	if _, err := p.client.CoreV1().PersistentVolumes().Update(ctx, larger, meta.UpdateOptions{}); err != nil {
		return err
	}
	told := claim.DeepCopy()
	told.Status.Capacity = core.ResourceList{core.ResourceStorage: wanted}
	_, err := p.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, told, meta.UpdateOptions{})
	return err
}

func (p *provisioner) reclaim(ctx context.Context, volume *core.PersistentVolume) error {
	ours := volume.Annotations["pv.kubernetes.io/provisioned-by"] == provisionerName
	if !ours || volume.Status.Phase != core.VolumeReleased || volume.Spec.PersistentVolumeReclaimPolicy != core.PersistentVolumeReclaimDelete {
		return nil
	}
	if filepath.Dir(volume.Spec.HostPath.Path) == filepath.Clean(p.root) {
		if err := os.RemoveAll(volume.Spec.HostPath.Path); err != nil {
			return err
		}
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, meta.DeleteOptions{})
	if errors.IsNotFound(err) {
		return nil
	}
	return err
}
