/**
 * The nearest that Authorino has to the job, as AuthConfigs. It has no route table of paths: its index is by host (or by what a
 * route's context extension says), and one AuthConfig stands for each route; the captured request finds its own by the host.
 * It has no table of owners, and removes no headers. Values are read by JSON paths: the same in CEL cost it four times as much.
 */
import { holders, type Job, type JobRoute } from '../job.ts'

const payload = 'metadata.filter_metadata.envoy\\.filters\\.http\\.jwt_authn'

/** The route that the captured request takes, under the captured host; the others under hosts of their own. */
export function authConfigs(job: Job, capturedHost: string, measured: string): object[] {
  return job.routes.map((route, number) => authConfig(job, route, route.id === measured ? capturedHost : `route-${number}.example.com`))
}

function authConfig(job: Job, route: JobRoute, host: string): object {
  const read = (selector: string) => ({ plain: { selector } })
  const rule = (selector: string, operator: 'eq' | 'neq' | 'incl' | 'matches', value: string) => ({ selector, operator, value })
  return {
    apiVersion: 'authorino.kuadrant.io/v1beta3',
    kind: 'AuthConfig',
    metadata: { name: route.id, namespace: 'default' },
    spec: {
      hosts: [host],
      authentication: { verified: read(`${payload}.${job.metadata_key}`) },
      authorization: {
        all: {
          patternMatching: {
            patterns: [
              rule('request.method', 'matches', `^(${route.methods.join('|')})$`),
              rule('request.path', 'matches', pathPattern(route.path)),
              rule('auth.identity.iss', 'eq', job.issuer),
              rule('auth.identity.sub', 'neq', ''),
              rule('auth.identity.aud', 'incl', job.audience),
              // It knows no inheritance of roles: all that hold one are named.
              { any: holders(job, route.roles).map((role) => rule('auth.identity.realm_access.roles', 'incl', role)) },
            ],
          },
        },
      },
      response: {
        success: {
          headers: {
            'x-postern-subject': read('auth.identity.sub'),
            'x-postern-issuer': read('auth.identity.iss'),
            'x-postern-roles': read('auth.identity.realm_access.roles'),
            'x-postern-decision': read('request.id'),
            'x-postern-claim-email': read('auth.identity.email'),
          },
          dynamicMetadata: { record: { json: { properties: record(job, route) } } },
        },
      },
    },
  }
}

function record(job: Job, route: JobRoute): object {
  const fixed = {
    decision: 'allow',
    reason: 'ok',
    route: route.id,
    policy: 'bench',
    realm: 'default',
    audience: job.audience,
    cache: 'hit',
  }
  const read = {
    decision_id: 'request.id',
    subject: 'auth.identity.sub',
    issuer: 'auth.identity.iss',
    roles: 'auth.identity.realm_access.roles',
    workload: 'source.principal',
    resource: 'request.path',
  }
  return {
    ...Object.fromEntries(Object.entries(fixed).map(([name, value]) => [name, { value }])),
    ...Object.fromEntries(Object.entries(read).map(([name, selector]) => [name, { selector }])),
  }
}

/** `/a/{b}/**` as a regular expression for a path with its query. */
function pathPattern(path: string): string {
  const parts = path.slice(1).split('/')
  return `^${parts.map((part) => (part === '**' ? '(/.*)?' : `/${part.startsWith('{') ? '[A-Za-z0-9._~-]{1,128}' : part.replaceAll('.', '\\.')}`)).join('')}(\\?|$)`
}
