// What a program with the JavaScript client does over every verb: create, read, list, replace, patch, apply, status, scale, watch, delete, logs, exec.
// KUBECONFIG names the cluster, in which the pod "busybox" runs; the client may be in a folder of NODE_PATH, where node itself looks for no module.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { PassThrough, Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';

const found = createRequire(import.meta.url).resolve('@kubernetes/client-node');
const k8s = await import(pathToFileURL(found));

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const namespace = 'default';
const IMAGE = 'test.local/busybox:1';
const LIMIT = 60_000;

const as = (strategy) => k8s.setHeaderOptions('Content-Type', strategy);
const refused = async (code, reason, asked) => {
  const error = await asked.then(() => assert.fail('it was answered'), (error) => error);
  assert.equal(error.code, code, String(error));
  assert.equal(JSON.parse(error.body).reason, reason);
};
const deadline = (what) => AbortSignal.timeout(LIMIT).addEventListener('abort', () => {
  console.error(`waited in vain for ${what}`);
  process.exit(1);
});

/** Follows a collection; `until` waits for an event of this type about this name and gives the object. */
async function follow(path, query) {
  const events = [];
  let wake = () => {};
  const stop = await new k8s.Watch(config).watch(path, query, (type, object) => {
    events.push([type, object]);
    wake();
  }, (error) => {
    if (error?.name !== 'AbortError') events.push(['END', error]);
    wake();
  });
  const until = async (type, is) => {
    for (let at = 0; ; at++) {
      while (at >= events.length) await new Promise((done) => { wake = done; });
      assert.notEqual(events[at][0], 'END', String(events[at][1]));
      if (events[at][0] === type && is(events[at][1])) return events[at][1];
    }
  };
  return { events, until, stop: () => stop.abort() };
}

async function verbs() {
  const made = await core.createNamespacedConfigMap({
    namespace, body: { metadata: { name: 'js-0', labels: { by: 'js', tier: 'one' } }, data: { a: '1' } },
  });
  assert.ok(made.metadata.uid);
  assert.ok(made.metadata.creationTimestamp instanceof Date);
  const seen = await follow(`/api/v1/namespaces/${namespace}/configmaps`, {
    labelSelector: 'by=js', resourceVersion: made.metadata.resourceVersion, allowWatchBookmarks: true,
  });
  await refused(409, 'AlreadyExists', core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'js-0' } } }));
  await refused(422, 'Invalid', core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'JS' } } }));
  await refused(404, 'NotFound', core.readNamespacedConfigMap({ namespace, name: 'js-none' }));
  for (let at = 1; at < 5; at++) {
    await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: `js-${at}`, labels: { by: 'js' } } } });
  }
  const read = await core.readNamespacedConfigMap({ namespace, name: 'js-0' });
  assert.deepEqual(read.data, { a: '1' });

  // lists, in pages and by selectors
  const names = [];
  let _continue;
  do {
    const page = await core.listNamespacedConfigMap({ namespace, labelSelector: 'by in (js)', limit: 2, _continue });
    assert.ok(page.items.length <= 2);
    names.push(...page.items.map((item) => item.metadata.name));
    _continue = page.metadata._continue;
  } while (_continue);
  assert.deepEqual(names, ['js-0', 'js-1', 'js-2', 'js-3', 'js-4']);
  const one = await core.listNamespacedConfigMap({ namespace, labelSelector: 'by=js,!tier', fieldSelector: 'metadata.name=js-3' });
  assert.deepEqual(one.items.map((item) => item.metadata.name), ['js-3']);
  const everywhere = await core.listConfigMapForAllNamespaces({ fieldSelector: 'metadata.name=kube-root-ca.crt' });
  assert.ok(everywhere.items.length >= 4);

  // whole, and in each way of patching
  const whole = await core.replaceNamespacedConfigMap({ namespace, name: 'js-0', body: { ...read, data: { a: '2', b: '2' } } });
  assert.deepEqual(whole.data, { a: '2', b: '2' });
  await refused(409, 'Conflict', core.replaceNamespacedConfigMap({ namespace, name: 'js-0', body: { ...read, data: {} } }));
  const patch = (strategy, body, more) => core.patchNamespacedConfigMap({ namespace, name: 'js-0', body, ...more }, as(strategy));
  const byJson = await patch(k8s.PatchStrategy.JsonPatch, [{ op: 'test', path: '/data/a', value: '2' }, { op: 'remove', path: '/data/b' }]);
  assert.deepEqual(byJson.data, { a: '2' });
  const byMerge = await patch(k8s.PatchStrategy.MergePatch, { data: { a: null, c: '3' } });
  assert.deepEqual(byMerge.data, { c: '3' });
  const byStrategy = await patch(k8s.PatchStrategy.StrategicMergePatch, { metadata: { finalizers: ['example.com/js'] } });
  assert.deepEqual(byStrategy.metadata.finalizers, ['example.com/js']);
  await patch(k8s.PatchStrategy.StrategicMergePatch, { metadata: { '$deleteFromPrimitiveList/finalizers': ['example.com/js'] } });
  const applied = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'js-0' }, data: { d: '4' } };
  const byApply = await patch(k8s.PatchStrategy.ServerSideApply, applied, { fieldManager: 'js' });
  assert.deepEqual(byApply.data, { c: '3', d: '4' });
  assert.equal(byApply.metadata.finalizers, undefined);
  const taken = patch(k8s.PatchStrategy.ServerSideApply, { ...applied, data: { d: '5' } }, { fieldManager: 'other' });
  await refused(409, 'Conflict', taken);
  const dry = await patch(k8s.PatchStrategy.ServerSideApply, { ...applied, data: { d: '5' } }, { fieldManager: 'other', force: true, dryRun: 'All' });
  assert.equal(dry.data.d, '5');

  // by a client that knows no kinds
  const generic = await objects.read({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'js-0', namespace } });
  assert.equal(generic.data.d, '4');

  const last = await core.deleteNamespacedConfigMap({ namespace, name: 'js-4' });
  assert.equal(last.status, 'Success');
  await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'by=js,tier=one' });
  assert.equal((await core.listNamespacedConfigMap({ namespace, labelSelector: 'by=js' })).items.length, 3);
  await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'by=js' });
  for (let at = 0; at < 5; at++) await seen.until('DELETED', (object) => object.metadata.name === `js-${at}`);
  seen.stop();
  const told = seen.events.filter(([type, object]) => type !== 'BOOKMARK' && object.metadata.name === 'js-0').map(([type]) => type);
  assert.deepEqual(told, [...Array(6).fill('MODIFIED'), 'DELETED']);
}

async function workloads() {
  const labels = { app: 'js' };
  const name = 'js';
  const command = ['sh', '-c', 'echo hello from $HOSTNAME; while :; do sleep 1; done'];
  const template = {
    metadata: { labels },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image: IMAGE, command }] },
  };
  const seen = await follow(`/apis/apps/v1/namespaces/${namespace}/deployments`, { fieldSelector: `metadata.name=${name}` });
  await apps.createNamespacedDeployment({ namespace, body: { metadata: { name }, spec: { replicas: 1, selector: { matchLabels: labels }, template } } });
  await seen.until('MODIFIED', (object) => object.status.readyReplicas === 1);
  const scale = await apps.readNamespacedDeploymentScale({ namespace, name });
  assert.equal(scale.spec.replicas, 1);
  scale.spec.replicas = 2;
  const wider = await apps.replaceNamespacedDeploymentScale({ namespace, name, body: scale });
  assert.equal(wider.spec.replicas, 2);
  const ready = await seen.until('MODIFIED', (object) => object.status.readyReplicas === 2);
  assert.equal(ready.spec.replicas, 2);
  const condition = { type: 'Told', status: 'True', reason: 'Js', message: 'by a client' };
  const status = await apps.patchNamespacedDeploymentStatus({ namespace, name, body: { status: { conditions: [condition] } } }, as(k8s.PatchStrategy.StrategicMergePatch));
  assert.ok(status.status.conditions.some((found) => found.reason === 'Js'));
  assert.ok(status.status.conditions.some((found) => found.type === 'Available'));
  assert.equal((await apps.readNamespacedDeploymentStatus({ namespace, name })).spec.replicas, 2);

  const pods = await core.listNamespacedPod({ namespace, labelSelector: 'app=js' });
  assert.equal(pods.items.length, 2);
  const pod = pods.items[0].metadata.name;
  const log = new PassThrough();
  const following = await new k8s.Log(config).log(namespace, pod, 'main', log, { follow: true });
  let text = '';
  for await (const piece of log) {
    text += piece;
    if (text.includes(`hello from ${pod}\n`)) break;
  }
  following.abort();
  assert.equal(await core.readNamespacedPodLog({ namespace, name: pod, tailLines: 1 }), `hello from ${pod}\n`);

  await apps.deleteNamespacedDeployment({ namespace, name, propagationPolicy: 'Foreground' });
  await seen.until('DELETED', () => true);
  seen.stop();
  const left = await core.listNamespacedPod({ namespace, labelSelector: 'app=js' });
  assert.deepEqual(left.items, []);
}

async function exec() {
  const out = new PassThrough().setEncoding('utf8');
  const errors = new PassThrough().setEncoding('utf8');
  const said = { out: '', errors: '' };
  out.on('data', (text) => { said.out += text; });
  errors.on('data', (text) => { said.errors += text; });
  const line = ['sh', '-c', 'read line; echo got $line; echo oops >&2; exit 3'];
  const status = await new Promise((done, failed) => {
    new k8s.Exec(config).exec(namespace, 'busybox', 'main', line, out, errors, Readable.from(['words\n']), false, done).catch(failed);
  });
  assert.equal(status.reason, 'NonZeroExitCode');
  assert.equal(status.details.causes[0].message, '3');
  assert.deepEqual(said, { out: 'got words\n', errors: 'oops\n' });
}

deadline('the end');
assert.equal((await config.makeApiClient(k8s.VersionApi).getCode()).major, '1');
await verbs();
await exec();
await workloads();
console.log('all as expected');
process.exit(0);
