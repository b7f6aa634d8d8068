import type { Admin } from './admin.ts'
import type { RunningKeycloak } from './keycloak.ts'

/** A realm of the same Keycloak that stands for a cloud's identity provider: its people log in there, and it tells of them in the cloud's claims. */
export interface Cloud {
  readonly issuer: string
  /** What fills in the places of deploy/keycloak/brokers, and where their addresses lead instead of the cloud's. */
  readonly environment: Readonly<Record<string, string>>
  readonly endpoints: Readonly<Record<string, string>>
  readonly password: string
  /** Sets the roles of a person there. */
  readonly setRoles: (username: string, roles: readonly string[]) => Promise<void>
}

/** People of the cloud, with their roles there. */
const people: Readonly<Record<string, readonly string[]>> = {
  wanda: ['Sandbox.Manage', 'agentcube-developers'],
  ivan: ['Sandbox.Invoke', 'agentcube-users'],
  norma: [],
}

const realm = 'cloud'
const tenant = 'tenant-of-the-cloud'
const domain = 'cloud.example'
const password = 'password-of-the-cloud'
const attributes = 'http://schemas.xmlsoap.org/ws/2005/05/identity/claims'
const role = 'http://schemas.microsoft.com/ws/2008/06/identity/claims/role'

const mapper = (protocol: string, name: string, kind: string, config: Record<string, string>) => ({
  name,
  protocol,
  protocolMapper: kind,
  config,
})
const claim = (name: string, kind: string, config: Record<string, string>) =>
  mapper('openid-connect', name, kind, { 'claim.name': name, 'id.token.claim': 'true', 'jsonType.label': 'String', ...config })
const property = (name: string, from: string) =>
  mapper('saml', name, 'saml-user-property-mapper', {
    'user.attribute': from,
    'attribute.name': `${attributes}/${name}`,
    'attribute.nameformat': 'URI Reference',
  })

/** Makes the realm. @param issuer of the realm whose people come from there */
export async function startCloud({ url, issuer }: RunningKeycloak, admin: Admin, aliases: readonly string[]): Promise<Cloud> {
  const cloud = `${url}/realms/${realm}`
  const users = Object.entries(people).map(([username, roles]) => ({
    username,
    enabled: true,
    email: `${username}@${domain}`,
    emailVerified: true,
    firstName: username,
    lastName: 'of the cloud',
    credentials: [{ type: 'password', value: password }],
    realmRoles: roles,
  }))
  const names = [...new Set(['Sandbox.Admin', ...Object.values(people).flat()])]
  const roles = { 'claim.name': 'roles', multivalued: 'true' }
  await admin('POST', '', {
    realm,
    enabled: true,
    sslRequired: 'none',
    roles: { realm: names.map((name) => ({ name })) },
    users,
    clients: [
      {
        clientId: 'agentcube',
        secret: 'secret-at-the-cloud',
        redirectUris: aliases.map((alias) => `${issuer}/broker/${alias}/endpoint`),
        protocolMappers: [
          claim('tid', 'oidc-hardcoded-claim-mapper', { 'claim.value': tenant }),
          claim('hd', 'oidc-hardcoded-claim-mapper', { 'claim.value': domain }),
          claim('roles', 'oidc-usermodel-realm-role-mapper', roles),
          claim('cognito:groups', 'oidc-usermodel-realm-role-mapper', { ...roles, 'claim.name': 'cognito:groups' }),
        ],
      },
      {
        clientId: issuer,
        protocol: 'saml',
        redirectUris: aliases.map((alias) => `${issuer}/broker/${alias}/endpoint`),
        frontchannelLogout: true,
        attributes: {
          'saml.server.signature': 'true',
          'saml.assertion.signature': 'true',
          'saml.client.signature': 'false',
          'saml.force.post.binding': 'true',
          saml_name_id_format: 'persistent',
        },
        protocolMappers: [
          property('emailaddress', 'email'),
          property('givenname', 'firstName'),
          property('surname', 'lastName'),
          mapper('saml', 'roles', 'saml-role-list-mapper', {
            single: 'false',
            'attribute.name': role,
            'attribute.nameformat': 'URI Reference',
          }),
        ],
        defaultClientScopes: [],
      },
    ],
  })
  const { keys } = (await admin('GET', `/${realm}/keys`)).body as { keys: { algorithm: string; certificate?: string }[] }
  const certificate = keys.find(({ algorithm }) => algorithm === 'RS256')?.certificate
  if (certificate === undefined) throw new Error('the cloud has no certificate')
  const oidc = `${cloud}/protocol/openid-connect`
  return {
    issuer: cloud,
    password,
    environment: {
      ...{ ENTRA_TENANT_ID: tenant, ENTRA_CLIENT_ID: 'agentcube', ENTRA_CLIENT_SECRET: 'secret-at-the-cloud' },
      ...{ GOOGLE_DOMAIN: domain, GOOGLE_CLIENT_ID: 'agentcube', GOOGLE_CLIENT_SECRET: 'secret-at-the-cloud' },
      ...{ COGNITO_CLIENT_ID: 'agentcube', COGNITO_CLIENT_SECRET: 'secret-at-the-cloud', COGNITO_DOMAIN: 'login.cloud.example' },
      ...{ AWS_REGION: 'eu-central-1', COGNITO_USER_POOL_ID: 'eu-central-1_pool' },
      ...{ KEYCLOAK_URL: url, KEYCLOAK_REALM: 'agentcube', ENTRA_SAML_CERTIFICATE: certificate },
      ...{
        IDENTITY_CENTER_ISSUER: 'https://portal.sso.eu-central-1.amazonaws.com/saml/assertion/x',
        IDENTITY_CENTER_CERTIFICATE: certificate,
      },
      ...{ IDENTITY_CENTER_SIGN_IN_URL: 'https://portal.sso.eu-central-1.amazonaws.com/saml/assertion/x' },
      ...{ IDENTITY_CENTER_GROUP_INVOKE: 'g-1', IDENTITY_CENTER_GROUP_MANAGE: 'g-2', IDENTITY_CENTER_GROUP_ADMIN: 'g-3' },
    },
    endpoints: {
      issuer: cloud,
      authorizationUrl: `${oidc}/auth`,
      tokenUrl: `${oidc}/token`,
      userInfoUrl: `${oidc}/userinfo`,
      jwksUrl: `${oidc}/certs`,
      idpEntityId: cloud,
      singleSignOnServiceUrl: `${cloud}/protocol/saml`,
    },
    setRoles: async (username, wanted) => {
      const [user] = (await admin('GET', `/${realm}/users?exact=true&username=${username}`)).body as { id: string }[]
      const path = `/${realm}/users/${user?.id}/role-mappings/realm`
      const now = (await admin('GET', path)).body as { name: string }[]
      await admin(
        'DELETE',
        path,
        now.filter(({ name }) => names.includes(name)),
      )
      const all = (await admin('GET', `/${realm}/roles`)).body as { name: string }[]
      await admin(
        'POST',
        path,
        all.filter(({ name }) => wanted.includes(name)),
      )
    },
  }
}
