import type { BrokerHttpOptions, Call } from './http-ports.ts'

/** Calls that ask for no credential, and change nothing. */
export const openCalls = ({ health, metrics, openapi }: BrokerHttpOptions): readonly Call[] => [
  {
    method: 'GET',
    path: '/v1/health',
    limit: 'looks',
    run: async (c) => {
      const { version, uptime, dbConnected, auditEvents } = await health()
      const status = dbConnected ? 'ok' : 'degraded'
      return c.json({ status, version, uptime, db_connected: dbConnected, audit_events_count: auditEvents }, dbConnected ? 200 : 503)
    },
  },
  {
    method: 'GET',
    path: '/v1/metrics',
    limit: 'looks',
    run: async (c) => c.body(await metrics.expose(), 200, { 'content-type': metrics.contentType }),
  },
  { method: 'GET', path: '/v1/openapi.json', limit: 'looks', run: (c) => c.body(openapi(), 200, { 'content-type': 'application/json' }) },
]
