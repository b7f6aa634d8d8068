import { readFileSync } from 'node:fs'
import type { MethodDefinition } from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'

/** The definition of `envoy.service.auth.v3.Authorization/Check`. */
export function checkMethod(): MethodDefinition<object, object> {
  const { root } = JSON.parse(readFileSync(new URL('../../proto/served.json', import.meta.url), 'utf8')) as { root: object }
  const service = fromJSON(root, { keepCase: true, longs: Number, enums: String, defaults: false })['envoy.service.auth.v3.Authorization']
  if (service === undefined || !('Check' in service))
    throw new Error('proto/served.json was expected to hold Authorization/Check: build it')
  return service['Check'] as MethodDefinition<object, object>
}

const header = (key: string, value: string) => ({
  header: { key, value },
  append: { value: false },
  append_action: 'OVERWRITE_IF_EXISTS_OR_ADD',
})
const text = (string_value: string) => ({ string_value })

/** An allow as Postern answers the captured request, in its size and shape: token, claim headers, removals, metadata. */
export const cannedAnswer = {
  status: { code: 0 },
  ok_response: {
    headers: [
      header('authorization', `Bearer ${'e'.repeat(500)}`),
      header('x-postern-subject', '8a1f6f0e-77a2-4f4e-9d0c-0b1f5ce0a001'),
      header('x-postern-issuer', 'https://idp.example.com/realms/acme'),
      header('x-postern-roles', 'offline_access,uma_authorization,developer,default-roles-acme'),
      header('x-postern-decision', '019dc03c-7a60-7d53-8f67-97a1b2c3d4e5'),
      header('x-postern-claim-email', 'ada@example.com'),
    ],
    headers_to_remove: ['x-postern-workload', 'x-postern-owner', 'x-envoy-auth-failure-mode-allowed'],
  },
  dynamic_metadata: {
    fields: {
      decision: text('allow'),
      enforced: { bool_value: true },
      reason: text('ok'),
      decision_id: text('019dc03c-7a60-7d53-8f67-97a1b2c3d4e5'),
      route: text('invoke-sandbox'),
      policy: text('54577f38f9f5'),
      realm: text('default'),
      subject: text('8a1f6f0e-77a2-4f4e-9d0c-0b1f5ce0a001'),
      issuer: text('https://idp.example.com/realms/acme'),
      roles: { list_value: { values: ['offline_access', 'uma_authorization', 'developer', 'default-roles-acme'].map(text) } },
      workload: text('spiffe://acme.internal/ns/edge/sa/gateway-client'),
      resource: text('sandbox:sb-00000bb8'),
      owner_match: text('yes'),
      audience: text('picod'),
      check_us: { number_value: 12 },
      cache: text('hit'),
    },
  },
}
