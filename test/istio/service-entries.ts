import type { Resource } from './rig.ts'

const servicePorts = { postern: 9191, keycloak: 443, workloadmanager: 8081, picod: 8082, 'postern-api': 9193 } as const
const protocols = { postern: 'GRPC', keycloak: 'HTTPS', workloadmanager: 'HTTP', picod: 'HTTP', 'postern-api': 'HTTP' } as const

/**
 * Stand for the Services of the platform, whose Pods cannot run here: the same names and ports, with endpoints on this machine
 * (the API server refuses loopback in those of a Service).
 * @param ports where each listens here
 */
export const serviceEntries = (ports: Readonly<Record<keyof typeof servicePorts, number>>): Resource[] =>
  (['postern', 'keycloak', 'workloadmanager', 'picod', 'postern-api'] as const).map((name) => ({
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: { name },
    spec: {
      hosts: [`${name}.agentcube-system.svc.cluster.local`],
      location: 'MESH_INTERNAL',
      resolution: 'STATIC',
      ports: [{ number: servicePorts[name], name: protocols[name].toLowerCase(), protocol: protocols[name] }],
      endpoints: [{ address: '127.0.0.1', ports: { [protocols[name].toLowerCase()]: ports[name] } }],
    },
  }))
