/** What is built from source for the long groups of tests: how it is got, and where the tests find it. */
import { readdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { ensureActionlint } from './actionlint.mjs'
import { cachePath } from './cache.mjs'
import { ensureCompose } from './compose.mjs'
import { ensureDocker } from './docker.mjs'
import { ensureEgctl } from './envoy-gateway.mjs'
import { ensureHelm } from './helm.mjs'
import { ensureIstiod } from './istio.mjs'
import { ensureKeycloak } from './keycloak.mjs'
import { ensureKubernetes } from './kubernetes.mjs'
import { ensureKustomize } from './kustomize.mjs'
import { ensureNomadJobspec } from './nomad.mjs'
import { ensurePrometheus } from './prometheus.mjs'
import { ensureSchemas } from './schemas.mjs'
import { ensureSpiffeHelper } from './spiffe-helper.mjs'
import { ensureSpire } from './spire.mjs'
import { ensureSpireControllerManager } from './spire-controller-manager.mjs'

/** @typedef {{ env: Record<string, string> } | { reason: string }} Got */

/**
 * `cache`: how the folder in the cache begins that is there once it was built; `minutes`: what that takes, from nothing, on two cores.
 * @typedef {{ cache: string, minutes: number, get: (node: string) => Promise<Got> }} Program
 */

/**
 * What was found, under the names that tests know it by.
 * @template {object} Found
 * @param {Promise<Found | { reason: string }>} got
 * @param {(found: Found) => Record<string, string>} name
 * @returns {Promise<Got>}
 */
async function named(got, name) {
  const found = await got
  return 'reason' in found ? found : { env: name(found) }
}

/** @type {Record<string, Program>} */
export const programs = {
  keycloak: {
    cache: 'keycloak-',
    minutes: 1,
    get: () => named(ensureKeycloak(), ({ home, java }) => ({ POSTERN_TEST_KEYCLOAK: home, POSTERN_TEST_JAVA: java })),
  },
  kubernetes: {
    cache: 'kube-apiserver-',
    minutes: 13,
    get: (node) =>
      named(ensureKubernetes(node), ({ apiServer, etcd }) => ({ POSTERN_TEST_KUBERNETES: apiServer, POSTERN_TEST_ETCD: etcd })),
  },
  spire: { cache: 'spire-1', minutes: 9, get: () => named(ensureSpire(), ({ server }) => ({ POSTERN_TEST_SPIRE: dirname(server) })) },
  'spiffe-helper': {
    cache: 'spiffe-helper-',
    minutes: 1,
    get: () => named(ensureSpiffeHelper(), ({ path }) => ({ POSTERN_TEST_SPIFFE_HELPER: path })),
  },
  'spire-controller-manager': {
    cache: 'spire-controller-manager-',
    minutes: 5,
    get: () => named(ensureSpireControllerManager(), ({ folder }) => ({ POSTERN_TEST_SPIRE_CONTROLLER_MANAGER: folder })),
  },
  helm: { cache: 'helm-', minutes: 6, get: () => named(ensureHelm(), ({ path }) => ({ POSTERN_TEST_HELM: path })) },
  kustomize: { cache: 'kustomize-', minutes: 1, get: () => named(ensureKustomize(), ({ path }) => ({ POSTERN_TEST_KUSTOMIZE: path })) },
  schemas: {
    cache: 'kubernetes-schemas-',
    minutes: 1,
    get: () =>
      named(ensureSchemas(), ({ kubeconform, schemas, operator }) => ({
        POSTERN_TEST_KUBECONFORM: kubeconform,
        POSTERN_TEST_KUBERNETES_SCHEMAS: schemas,
        POSTERN_TEST_SERVICE_MONITOR: operator,
      })),
  },
  prometheus: {
    cache: 'prometheus-of-debian',
    minutes: 1,
    get: () =>
      named(ensurePrometheus(), ({ prometheus, promtool }) => ({
        POSTERN_TEST_PROMETHEUS: prometheus,
        POSTERN_TEST_PROMTOOL: promtool,
      })),
  },
  'nomad-jobspec': {
    cache: 'nomad-jobspec-',
    minutes: 3,
    get: () => named(ensureNomadJobspec(), ({ path }) => ({ POSTERN_TEST_NOMAD_JOBSPEC: path })),
  },
  actionlint: {
    cache: 'actionlint-',
    minutes: 1,
    get: () => named(ensureActionlint(), ({ path }) => ({ POSTERN_TEST_ACTIONLINT: path })),
  },
  docker: { cache: 'base-images-', minutes: 5, get: () => named(ensureDocker(), ({ docker }) => ({ POSTERN_TEST_DOCKER: docker })) },
  compose: { cache: 'docker-compose-', minutes: 4, get: () => named(ensureCompose(), ({ path }) => ({ POSTERN_TEST_COMPOSE: path })) },
  egctl: { cache: 'egctl-', minutes: 10, get: () => named(ensureEgctl(), ({ path }) => ({ POSTERN_TEST_EGCTL: path })) },
  istiod: {
    cache: 'istio-',
    minutes: 12,
    get: () =>
      named(ensureIstiod(), ({ istiod, istioctl, crds }) => ({
        POSTERN_TEST_ISTIOD: istiod,
        POSTERN_TEST_ISTIOCTL: istioctl,
        POSTERN_TEST_ISTIO_CRDS: crds,
      })),
  },
}

/** Minutes that a program will take to get: none once it is in the cache. @param {string} name */
export function minutesFor(name) {
  const program = programs[name]
  if (program === undefined) return 0
  return readdirSync(cachePath()).some((entry) => entry.startsWith(program.cache) && !entry.endsWith('.part')) ? 0 : program.minutes
}
